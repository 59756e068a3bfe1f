// The only importer of dbus-next, and only of its marshalling. Its connection is not used: one message of any local
// account to our bus name with an unexpected type (a descriptor index without descriptors) throws inside its socket
// handler and ends the process, it never rejects pending calls when the bus goes away, and it believes signals
// whoever sent them.
import DBusBuffer from 'dbus-next/lib/dbus-buffer.js';
import marshallCompat from 'dbus-next/lib/marshall-compat.js';
import wireVariant from 'dbus-next/lib/variant.js';
import { type BusInput, type BusValue, Variant } from './variant.js';

const LITTLE_ENDIAN = 0x6c;
const FIXED_HEADER_BYTES = 16;
const HEADER_SIGNATURE = 'yyyyuua(yv)';
const HEADER_FIELDS = ['path', 'interface', 'member', 'errorName', 'replySerial', 'destination', 'sender', 'signature'];

export const MESSAGE_TYPE = { methodCall: 1, methodReturn: 2, error: 3, signal: 4 } as const;
/** The bus shall not try to start the destination. */
export const NO_AUTO_START = 2;

export interface OutgoingMessage {
  readonly type: number;
  readonly serial: number;
  readonly flags?: number;
  readonly destination?: string;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly replySerial?: number;
  readonly errorName?: string;
  /** Set by the bus; here for a bus in a test. */
  readonly sender?: string;
  readonly signature?: string;
  readonly body?: readonly BusInput[];
}

/** The header of a message that came in. Texts are '' and numbers 0 when the field is missing. */
export interface IncomingHeader {
  readonly type: number;
  readonly serial: number;
  readonly replySerial: number;
  readonly sender: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly errorName: string;
  /** Decodes the body; throws what dbus-next throws when it is not well formed. */
  body(): readonly BusValue[];
}

export interface EncodedMessage {
  readonly bytes: Buffer;
  /** To be sent along: the values of type `h` in the message are positions in this list. */
  readonly descriptors: readonly number[];
}

/** @throws what dbus-next throws when a value does not fit its signature */
export function encodeMessage(message: OutgoingMessage): EncodedMessage {
  const wire = { ...message, signature: message.signature ?? '', body: (message.body ?? []).map(toWire) };
  const [bytes, descriptors] = marshallCompat.marshallMessage(wire);
  return { bytes, descriptors };
}

/**
 * The size of a message, from its first 16 bytes.
 *
 * @see https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol-messages
 */
export function messageBytes(start: Buffer): number {
  const isLittle = start[0] === LITTLE_ENDIAN;
  const bodyBytes = isLittle ? start.readUInt32LE(4) : start.readUInt32BE(4);
  const fieldsBytes = isLittle ? start.readUInt32LE(12) : start.readUInt32BE(12);
  return FIXED_HEADER_BYTES + Math.ceil(fieldsBytes / 8) * 8 + bodyBytes;
}

/** @throws what dbus-next throws when the header is not well formed */
export function decodeHeader(message: Buffer): IncomingHeader {
  const reader = new DBusBuffer(message, 0, message[0] ?? 0, undefined, { ayBuffer: true });
  const [, type, , , , serial, fieldList] = reader.read(HEADER_SIGNATURE);
  const fields = new Map<string, unknown>();
  // Each field is [code, [type tree, [value]]].
  for (const [code, [, [value]]] of fieldList as [number, [unknown, [unknown]]][]) {
    fields.set(HEADER_FIELDS[code - 1] ?? '', value);
  }
  const signature = textOf(fields.get('signature'));
  return {
    type: numberOf(type),
    serial: numberOf(serial),
    replySerial: numberOf(fields.get('replySerial')),
    sender: textOf(fields.get('sender')),
    path: textOf(fields.get('path')),
    interface: textOf(fields.get('interface')),
    member: textOf(fields.get('member')),
    errorName: textOf(fields.get('errorName')),
    body() {
      if (signature === '') return [];
      reader.align(3);
      const { body } = marshallCompat.messageToJsFmt({ signature, body: reader.read(signature) });
      return body.map(fromWire);
    },
  };
}

function toWire(value: BusInput): unknown {
  if (value instanceof Variant) return new wireVariant.Variant(value.signature, toWire(value.value));
  if (Array.isArray(value)) return value.map(toWire);
  if (typeof value !== 'object' || Buffer.isBuffer(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toWire(item)]));
}

function fromWire(value: unknown): BusValue {
  if (value instanceof wireVariant.Variant) return fromWire(value.value);
  if (Array.isArray(value)) return value.map(fromWire);
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromWire(item)]));
  }
  if (['string', 'number', 'boolean', 'bigint'].includes(typeof value)) return value as BusValue;
  throw new TypeError(`unexpected ${typeof value} in a D-Bus message`);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
