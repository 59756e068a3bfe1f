import type { Framing } from './body-reader.js';
import { findField, type HeaderField, hasOnlyCleanLines, listMembers, parseHeaderField } from './header-fields.js';

/** An answer's head that has one meaning only. */
export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly fields: readonly HeaderField[];
  readonly framing: Framing;
  /** Whether the upstream would take another request on this connection. */
  readonly keepAlive: boolean;
}

export const MAX_RESPONSE_HEAD_BYTES = 64 * 1024;
const MAX_RESPONSE_FIELDS = 256;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;

/**
 * Understands an upstream's answer strictly.
 *
 * @param head latin1 text up to, not including, the empty line
 * @param method of the request, since an answer to HEAD has no body whatever it says
 * @returns constant text saying what is wrong when it cannot be trusted
 * @see RFC 9112 section 6.3
 */
export function parseResponseHead(head: string, method: string): ResponseHead | string {
  if (!hasOnlyCleanLines(head)) return 'control character or bare line break';
  const lines = head.split('\r\n');
  const [, minor, code, reason = ''] = STATUS_LINE.exec(lines[0] ?? '') ?? [];
  if (code === undefined) return 'malformed status line';
  if (lines.length - 1 > MAX_RESPONSE_FIELDS) return 'too many header fields';
  const fields: HeaderField[] = [];
  for (let index = 1; index < lines.length; index++) {
    const field = parseHeaderField(lines[index] ?? '');
    if (field === undefined) return 'malformed header field';
    fields.push(field);
  }
  const status = Number(code);
  const framing = responseFraming(fields, minor === '1', status, method);
  if (typeof framing === 'string') return framing;
  const connection = fields.filter(({ lower }) => lower === 'connection').flatMap(({ value }) => listMembers(value));
  const keepAlive = minor === '1' && !connection.includes('close') && framing.kind !== 'close';
  return { status, reason, fields, framing, keepAlive };
}

function responseFraming(
  fields: readonly HeaderField[],
  isModern: boolean,
  status: number,
  method: string,
): Framing | string {
  const lengths = fields.filter(({ lower }) => lower === 'content-length');
  const codings = fields.filter(({ lower }) => lower === 'transfer-encoding');
  if (lengths.length > 1 || codings.length > 1 || (lengths.length > 0 && codings.length > 0)) return 'two framings';
  const length = findField(fields, 'content-length');
  if (length !== undefined && !/^[0-9]{1,15}$/.test(length)) return 'malformed Content-Length';
  const coding = findField(fields, 'transfer-encoding');
  if (coding !== undefined && (!isModern || coding.toLowerCase() !== 'chunked')) return 'unknown transfer coding';
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { kind: 'none' };
  if (coding !== undefined) return { kind: 'chunked' };
  if (length === undefined) return { kind: 'close' };
  return { kind: 'length', length: Number(length) };
}
