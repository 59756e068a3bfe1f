import type { Framing } from './body-reader.js';
import { type HeaderField, listMembers, readHeaderFields } from './header-fields.js';

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
  const lineEnd = head.indexOf('\r\n');
  const [, minor, code, reason = ''] = STATUS_LINE.exec(lineEnd < 0 ? head : head.slice(0, lineEnd)) ?? [];
  if (code === undefined) return 'malformed status line';
  const fields = lineEnd < 0 ? [] : readHeaderFields(head, lineEnd + 2, MAX_RESPONSE_FIELDS);
  if (typeof fields === 'string') return fields;
  const status = Number(code);
  let length: string | undefined;
  let coding: string | undefined;
  let connection: string | undefined;
  for (const { lower, value } of fields) {
    if (lower === 'content-length') {
      if (length !== undefined) return 'two framings';
      length = value;
    } else if (lower === 'transfer-encoding') {
      if (coding !== undefined) return 'two framings';
      coding = value;
    } else if (lower === 'connection') connection = connection === undefined ? value : `${connection},${value}`;
  }
  if (length !== undefined && coding !== undefined) return 'two framings';
  if (length !== undefined && !/^[0-9]{1,15}$/.test(length)) return 'malformed Content-Length';
  if (coding !== undefined && (minor === '0' || coding.toLowerCase() !== 'chunked')) return 'unknown transfer coding';
  const framing = framingOf(status, method, length, coding !== undefined);
  const isClosing = connection !== undefined && listMembers(connection).includes('close');
  return { status, reason, fields, framing, keepAlive: minor === '1' && !isClosing && framing.kind !== 'close' };
}

function framingOf(status: number, method: string, length: string | undefined, isChunked: boolean): Framing {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { kind: 'none' };
  if (isChunked) return { kind: 'chunked' };
  return length === undefined ? { kind: 'close' } : { kind: 'length', length: Number(length) };
}
