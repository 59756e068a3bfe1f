import { fstatSync } from 'node:fs';
import { type DatagramSender, openDatagramSender, type SendResult } from './datagram.js';
import { type JournalFields, MAX_ENTRY_BYTES } from './journal-fields.js';

const JOURNAL_SOCKET = '/run/systemd/journal/socket';
const STDERR_FD = 2;
const SEND_BUFFER_BYTES = 8 * 1024 * 1024;
// A journald that restarts leaves its queue (systemd: 512 entries) full for a moment; one that hangs must not stop us.
const MAX_WAIT_MS = 250;

/**
 * Takes entries; false when the journal cannot be reached, so that the entry has to go elsewhere.
 *
 * An entry that was dropped because the journal is congested counts as taken.
 */
export type JournalSink = (fields: JournalFields) => boolean;

/**
 * Whether stderr goes to the journal, which is the unit's wish that logs go there.
 *
 * @param journalStream `$JOURNAL_STREAM`
 * @see systemd.exec(5), JOURNAL_STREAM
 */
export function isStderrJournal(journalStream: string | undefined): boolean {
  if (journalStream === undefined) return false;
  try {
    const stat = fstatSync(STDERR_FD, { bigint: true });
    return journalStream === `${stat.dev}:${stat.ino}`;
  } catch {
    return false;
  }
}

/**
 * Opens the journal's native socket.
 *
 * While it does not take entries, at most one call waits; the entries dropped meanwhile are counted and reported with
 * the next one that gets through.
 *
 * @throws {MH_ERR_SYSTEMD_LIBRARY}
 */
export function openJournal(path: string = JOURNAL_SOCKET): JournalSink {
  const sender = openDatagramSender(path, { maxWaitMs: MAX_WAIT_MS, sendBufferBytes: SEND_BUFFER_BYTES });
  let dropped = 0;
  return (fields) => {
    const result = trySend(sender, encodeEntry(withDropCount(fields, dropped)), dropped === 0);
    if (result === 'congested') dropped++;
    if (result === 'sent') dropped = 0;
    return result === 'sent' || result === 'congested';
  };
}

/**
 * Encodes an entry: `NAME=value`, or with a line break in the value the name, its length as 64 bits, and the value.
 *
 * Fields beyond {@link MAX_ENTRY_BYTES} are left out.
 *
 * @see https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
 */
export function encodeEntry(fields: JournalFields): Buffer {
  const parts: Buffer[] = [];
  let size = 0;
  for (const [name, value] of fields) {
    const part = value.includes('\n') ? encodeBinary(name, value) : Buffer.from(`${name}=${value}\n`, 'utf8');
    size += part.length;
    if (size > MAX_ENTRY_BYTES) break;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function encodeBinary(name: string, value: string): Buffer {
  const data = Buffer.from(value, 'utf8');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(data.length));
  return Buffer.concat([Buffer.from(`${name}\n`, 'utf8'), length, data, Buffer.from('\n')]);
}

function withDropCount(fields: JournalFields, dropped: number): JournalFields {
  return dropped === 0 ? fields : [...fields, ['METALHUB_DROPPED_ENTRIES', String(dropped)]];
}

function trySend(sender: DatagramSender, payload: Buffer, wait: boolean): SendResult | 'failed' {
  try {
    return sender.send(payload, wait);
  } catch {
    return 'failed';
  }
}
