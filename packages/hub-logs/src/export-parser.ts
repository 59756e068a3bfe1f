/** Longest part of a field that is kept: 4096 characters in UTF-8 and a little more. */
export const MAX_FIELD_BYTES = 4 * 4096 + 64;
const MAX_FIELDS = 64;

/** Fields of one entry by name; of a field that occurs twice the first. */
export type JournalEntry = ReadonlyMap<string, Buffer>;

const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const SIZE_BYTES = 8;

/**
 * Reads the journal's export format as it streams in, in bounded memory: of long fields only the beginning is kept.
 *
 * An entry is a series of `NAME=value` lines, or `NAME`, line break, size as 64 bits little-endian, value, line break;
 * an empty line ends it.
 * @see https://systemd.io/JOURNAL_EXPORT_FORMATS/
 */
export class ExportParser {
  #entry = new Map<string, Buffer>();
  #state: 'line' | 'size' | 'value' | 'end' = 'line';
  #name = '';
  /** The line, size or value that is being read, up to {@link MAX_FIELD_BYTES}. */
  #part: Buffer[] = [];
  #partBytes = 0;
  #bytesLeft = 0n;

  /** Returns the entries that these bytes complete. */
  push(chunk: Buffer): JournalEntry[] {
    const entries: JournalEntry[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#state === 'line') rest = this.#readLine(rest, entries);
      else if (this.#state === 'size') rest = this.#readSize(rest);
      else if (this.#state === 'value') rest = this.#readValue(rest);
      else {
        this.#state = 'line';
        rest = rest.subarray(1);
      }
    }
    return entries;
  }

  #readLine(bytes: Buffer, entries: JournalEntry[]): Buffer {
    const end = bytes.indexOf(NEWLINE);
    this.#keep(end < 0 ? bytes : bytes.subarray(0, end));
    if (end < 0) return bytes.subarray(bytes.length);
    const line = this.#takePart();
    const equals = line.indexOf(EQUALS);
    if (line.length === 0) {
      if (this.#entry.size > 0) entries.push(this.#entry);
      this.#entry = new Map();
    } else if (equals >= 0) {
      this.#setField(line.toString('latin1', 0, equals), line.subarray(equals + 1));
    } else {
      this.#name = line.toString('latin1');
      this.#state = 'size';
    }
    return bytes.subarray(end + 1);
  }

  #readSize(bytes: Buffer): Buffer {
    const missing = SIZE_BYTES - this.#partBytes;
    this.#keep(bytes.subarray(0, missing));
    if (this.#partBytes === SIZE_BYTES) {
      this.#bytesLeft = this.#takePart().readBigUInt64LE();
      this.#state = 'value';
      this.#endValueIfComplete();
    }
    return bytes.subarray(missing);
  }

  #readValue(bytes: Buffer): Buffer {
    const here = this.#bytesLeft < BigInt(bytes.length) ? Number(this.#bytesLeft) : bytes.length;
    this.#keep(bytes.subarray(0, here));
    this.#bytesLeft -= BigInt(here);
    this.#endValueIfComplete();
    return bytes.subarray(here);
  }

  #endValueIfComplete(): void {
    if (this.#bytesLeft > 0n) return;
    this.#setField(this.#name, this.#takePart());
    this.#state = 'end';
  }

  #setField(name: string, value: Buffer): void {
    if (this.#entry.size < MAX_FIELDS && !this.#entry.has(name)) this.#entry.set(name, value);
  }

  /** Copies, so that a few bytes do not hold on to a whole chunk. */
  #keep(bytes: Buffer): void {
    const room = MAX_FIELD_BYTES - this.#partBytes;
    if (room <= 0 || bytes.length === 0) return;
    const kept = Buffer.from(bytes.subarray(0, room));
    this.#part.push(kept);
    this.#partBytes += kept.length;
  }

  #takePart(): Buffer {
    const [first] = this.#part;
    const part = this.#part.length === 1 && first !== undefined ? first : Buffer.concat(this.#part, this.#partBytes);
    this.#part = [];
    this.#partBytes = 0;
    return part;
  }
}
