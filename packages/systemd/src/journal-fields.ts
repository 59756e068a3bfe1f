import { MetalhubError } from '@metalhub/base/errors.js';
import type { LogFields } from '@metalhub/base/log.js';

const MAX_MESSAGE_BYTES = 8 * 1024;
const MAX_STACK_BYTES = 16 * 1024;
const MAX_VALUE_BYTES = 4 * 1024;
const MAX_NAME_BYTES = 256;
const MAX_FIELDS = 48;
const MAX_DEPTH = 4;
const MAX_CAUSES = 4;

/** Bound of one encoded entry; a datagram of the default socket buffer holds about 200 KiB. */
export const MAX_ENTRY_BYTES = 128 * 1024;

/** Field names of the journal and their values, in the order of sending. */
export type JournalFields = readonly (readonly [name: string, value: string])[];

export interface JournalEntry {
  readonly identifier: string;
  /** syslog's: 2 critical, 3 error, 4 warning, 5 notice, 6 info, 7 debug. */
  readonly priority: number;
  readonly message: string;
  readonly fields: LogFields;
}

const NAME_LIKE = new Map([
  ['user', 'METALHUB_USER'],
  ['server', 'METALHUB_SERVER'],
  ['service', 'METALHUB_SERVICE'],
  ['clientId', 'METALHUB_CLIENT_ID'],
  ['requestId', 'METALHUB_REQUEST_ID'],
  ['unit', 'METALHUB_UNIT'],
  ['event', 'MESSAGE_ID'],
]);

const SECRET_WORDS = new Set([
  ...['password', 'passwd', 'passphrase', 'token', 'tokens', 'cookie', 'cookies'],
  ...['authorization', 'secret', 'secrets'],
]);
// What describes a secret may be logged: tokenId, cookieName.
const HARMLESS_LAST_WORDS = new Set(['id', 'ids', 'count', 'name', 'type', 'kind', 'length', 'bytes', 'file', 'path']);
// A `code` is OAuth's, unless it is one of these: exitCode, statusCode.
const HARMLESS_CODES = new Set(['error', 'exit', 'status', 'reason', 'close', 'http', 'err']);

/**
 * Turns a log call into journal fields: names mapped, secrets redacted, control characters escaped, lengths bounded.
 *
 * @param isRoot journald takes `OBJECT_SYSTEMD_UNIT` from root only, where it makes the entry show up in
 * `journalctl -u` of that unit
 * @see systemd.journal-fields(7)
 */
export function journalFields(entry: JournalEntry, isRoot: boolean): JournalFields {
  const { err, ...others } = entry.fields;
  const fields: (readonly [string, string])[] = [
    ['MESSAGE', messageText(entry, err)],
    ['PRIORITY', String(entry.priority)],
    ['SYSLOG_IDENTIFIER', entry.identifier],
  ];
  if (isRoot && typeof others.unit === 'string')
    fields.push(['OBJECT_SYSTEMD_UNIT', cleanText(others.unit, MAX_NAME_BYTES)]);
  if (err !== undefined && err !== null) fields.push(...errorFields(err));
  for (const [key, value] of Object.entries(others).slice(0, MAX_FIELDS)) {
    if (value === undefined || value === null) continue;
    const known = NAME_LIKE.get(key);
    const maxBytes = known === undefined ? MAX_VALUE_BYTES : MAX_NAME_BYTES;
    const name = known ?? metalhubFieldName(key);
    if (name !== undefined) fields.push([name, cleanText(valueText(key, value), maxBytes)]);
  }
  return fields;
}

/**
 * Fields as an object for one line of JSON, with the same redaction and bounds.
 *
 * An error becomes `{name, code, message, stack}`.
 */
export function plainFields(fields: LogFields): Record<string, unknown> {
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields).slice(0, MAX_FIELDS)) {
    if (value === undefined) continue;
    plain[key] = key === 'err' ? plainError(value) : plainValue(key, value, 0);
  }
  return plain;
}

/** Escapes control characters (and those that reorder or break lines) and cuts the text at a number of bytes. */
export function cleanText(text: string, maxBytes: number): string {
  // A character has at most 3 bytes per UTF-16 unit, and at least 1: cut roughly first, so that huge texts cost nothing.
  const rough = text.length > maxBytes ? text.slice(0, maxBytes) : text;
  const escaped = rough.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, escapeCharacter);
  return cutBytes(escaped, maxBytes, rough.length < text.length);
}

/** Whether a field of this name is never written. */
export function isSecretKey(key: string): boolean {
  const words = key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');
  const last = words.at(-1) ?? '';
  if (HARMLESS_LAST_WORDS.has(last)) return false;
  if (last === 'code') return !HARMLESS_CODES.has(words.at(-2) ?? '');
  return words.some((word) => SECRET_WORDS.has(word));
}

function messageText(entry: JournalEntry, err: unknown): string {
  const message = cleanText(entry.message, MAX_MESSAGE_BYTES);
  if (err === undefined || err === null) return message;
  const summary = cleanText(describeError(err), MAX_MESSAGE_BYTES - 1024);
  const line = cutBytes(`${message}: ${summary}`, MAX_MESSAGE_BYTES, false);
  const stack = entry.priority <= 3 ? stackText(err) : '';
  return stack === '' ? line : `${line}\n${stack}`;
}

function errorFields(err: unknown): JournalFields {
  const fields: (readonly [string, string])[] = [['METALHUB_ERROR', cleanText(errorCode(err), MAX_NAME_BYTES)]];
  if (err instanceof MetalhubError) {
    const details = valueText('details', err.details);
    if (details !== '{}') fields.push(['METALHUB_ERROR_DETAILS', cleanText(details, MAX_VALUE_BYTES)]);
    if (err.hint !== undefined) fields.push(['METALHUB_ERROR_HINT', cleanText(err.hint, MAX_VALUE_BYTES)]);
  }
  return fields;
}

function errorCode(err: unknown): string {
  const code = property(err, 'code');
  if (typeof code === 'string' && code !== '') return code;
  // pino's serializer calls the class "type".
  const name = property(err, 'name') ?? property(err, 'type');
  return typeof name === 'string' ? name : 'unknown';
}

function describeError(err: unknown): string {
  const message = property(err, 'message');
  return typeof message === 'string' ? message : String(err);
}

/** The frames of an error and of its causes; only frames, since a message may hold anything. */
function stackText(err: unknown): string {
  const lines: string[] = [];
  let current = err;
  for (let depth = 0; depth <= MAX_CAUSES && current !== undefined && current !== null; depth++) {
    if (depth > 0) lines.push(`caused by ${errorCode(current)}: ${describeError(current)}`);
    const stack = property(current, 'stack');
    if (typeof stack === 'string') lines.push(...stack.split('\n').filter((line) => /^ {4}at /.test(line)));
    current = property(current, 'cause');
  }
  return cutBytes(lines.map((line) => cleanText(line, 1024)).join('\n'), MAX_STACK_BYTES, false);
}

function plainError(err: unknown): unknown {
  if (typeof err !== 'object' || err === null) return plainValue('', err, 0);
  const stack = stackText(err);
  return {
    code: errorCode(err),
    message: cleanText(describeError(err), MAX_MESSAGE_BYTES),
    ...(err instanceof MetalhubError && Object.keys(err.details).length > 0
      ? { details: plainValue('', err.details, 0) }
      : {}),
    ...(stack === '' ? {} : { stack }),
  };
}

function valueText(key: string, value: unknown): string {
  const plain = plainValue(key, value, 0);
  return typeof plain === 'string' ? plain : (JSON.stringify(plain) ?? '');
}

/** A copy that JSON can hold: redacted, with bounded depth, lists and texts. */
function plainValue(key: string, value: unknown, depth: number): unknown {
  if (isSecretKey(key)) return '[redacted]';
  switch (typeof value) {
    case 'string':
      return cleanText(value, MAX_VALUE_BYTES);
    case 'number':
    case 'boolean':
      return value;
    case 'object':
      return value === null ? null : plainObject(key, value, depth);
    case 'undefined':
      return undefined;
    default:
      return cleanText(String(value), MAX_NAME_BYTES);
  }
}

function plainObject(key: string, value: object, depth: number): unknown {
  if (value instanceof Error) return cleanText(`${errorCode(value)}: ${describeError(value)}`, MAX_VALUE_BYTES);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (depth >= MAX_DEPTH || ArrayBuffer.isView(value)) return `[${value.constructor?.name ?? 'object'}]`;
  if (Array.isArray(value)) return value.slice(0, MAX_FIELDS).map((item: unknown) => plainValue(key, item, depth + 1));
  const entries = Object.entries(value).slice(0, MAX_FIELDS);
  return Object.fromEntries(entries.map(([name, item]) => [name, plainValue(name, item, depth + 1)]));
}

/** `durationMs` becomes `METALHUB_DURATION_MS`; `undefined` for a key that gives no valid field name. */
function metalhubFieldName(key: string): string | undefined {
  const snake = key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[^A-Za-z0-9]+/g, '_')
    .toUpperCase();
  // 64 bytes is journald's limit.
  return snake === '' || snake === '_' ? undefined : `METALHUB_${snake}`.slice(0, 64);
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0);
  if (character === '\n') return '\\n';
  if (character === '\t') return '\\t';
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
}

function cutBytes(text: string, maxBytes: number, isCutAlready: boolean): string {
  const bytes = Buffer.byteLength(text, 'utf8');
  if (bytes <= maxBytes) return isCutAlready ? `${text}…` : text;
  // Not to end in half a character, which journald would show as a blob.
  const cut = Buffer.from(text, 'utf8').subarray(0, maxBytes - 3);
  return `${cut.toString('utf8').replace(/\ufffd+$/, '')}…`;
}
