import type { Framing } from './body-reader.js';
import {
  findField,
  foldedName,
  type HeaderField,
  hasOnlyCleanLines,
  listMembers,
  parseHeaderField,
} from './header-fields.js';
import { parseHost, type RequestHost } from './host.js';
import { parseRequestTarget } from './path.js';

/** A request that has one meaning only. */
export interface RequestHead {
  readonly method: string;
  /** Byte for byte what was received and what an upstream gets. */
  readonly target: string;
  readonly path: string;
  readonly query: string;
  readonly version: '1.0' | '1.1';
  readonly host: RequestHost;
  readonly fields: readonly HeaderField[];
  readonly framing: Framing;
  /** False when the client wants, or its version needs, the connection closed after the answer. */
  readonly keepAlive: boolean;
  /** A WebSocket handshake: GET, HTTP/1.1, no body. */
  readonly isUpgrade: boolean;
  /** Fields that Connection named; they end at the proxy. */
  readonly connectionNamed: ReadonlySet<string>;
}

/** Why a request was not understood. `reason` is constant text, fit for a log. */
export interface Refusal {
  readonly status: 400 | 405 | 414 | 417 | 421 | 431 | 501 | 505;
  readonly reason: string;
}

export const MAX_HEAD_BYTES = 16 * 1024;
export const MAX_HEADER_FIELDS = 100;

const REQUEST_LINE = /^([A-Z][A-Z0-9-]{0,31}) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/;
const REFUSED_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK', 'PRI']);
// Taking one of these away by naming it in Connection would change who is asking, or what.
const NEVER_HOP_BY_HOP =
  /^(?:host|cookie|authorization|origin|referer|content-.*|transfer-encoding|expect|range|sec-.*|x-.*|forwarded|accept|user-agent|if-.*|te|trailer|date|cache-control)$/;
const SINGLE_FIELDS = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'origin',
  'authorization',
  'upgrade',
  'expect',
  'content-type',
  'sec-fetch-site',
  'sec-fetch-mode',
  'sec-fetch-dest',
  'sec-websocket-key',
  'sec-websocket-version',
]);

/** Whether a head may begin with this line; whether all of it is right is for {@link parseRequestHead}. */
export function isRequestLine(line: string): boolean {
  return REQUEST_LINE.test(line);
}

export function isRefusal(value: RequestHead | Refusal): value is Refusal {
  return 'status' in value;
}

/**
 * Understands a request head strictly, or says why not. Nothing is repaired: what another parser could read
 * differently is refused.
 *
 * @param head latin1 text up to, not including, the empty line
 * @see RFC 9112, sections 2 to 6
 */
export function parseRequestHead(head: string): RequestHead | Refusal {
  if (!hasOnlyCleanLines(head)) return refuse(400, 'control character or bare line break in the head');
  const lines = head.split('\r\n');
  const [, method, target, major, minor] = REQUEST_LINE.exec(lines[0] ?? '') ?? [];
  if (method === undefined || target === undefined) return refuse(400, 'malformed request line');
  if (major !== '1' || (minor !== '0' && minor !== '1')) return refuse(505, 'unsupported version');
  if (REFUSED_METHODS.has(method)) return refuse(405, 'method not allowed');
  if (lines.length - 1 > MAX_HEADER_FIELDS) return refuse(431, 'too many header fields');
  const parsed = parseRequestTarget(target);
  if (parsed === undefined) return refuse(400, 'request target not in origin form or ambiguous');
  const fields: HeaderField[] = [];
  const seen = new Set<string>();
  for (let index = 1; index < lines.length; index++) {
    const field = parseHeaderField(lines[index] ?? '');
    if (field === undefined) return refuse(400, 'malformed header field');
    if (SINGLE_FIELDS.has(field.lower) && seen.has(field.lower)) return refuse(400, 'repeated header field');
    seen.add(field.lower);
    fields.push(field);
  }
  return understand(fields, { method, target, ...parsed, version: minor === '0' ? '1.0' : '1.1' });
}

type RequestLine = Pick<RequestHead, 'method' | 'target' | 'path' | 'query' | 'version'>;

function understand(fields: readonly HeaderField[], line: RequestLine): RequestHead | Refusal {
  const host = parseHost(findField(fields, 'host') ?? '');
  if (host === undefined) return refuse(400, 'no valid Host');
  const framing = requestFraming(fields, line.version);
  if (isRefusalOfFraming(framing)) return framing;
  const named = new Set(
    fields.filter(({ lower }) => lower === 'connection').flatMap(({ value }) => listMembers(value)),
  );
  const wantsUpgrade = named.has('upgrade');
  const keepAlive = line.version === '1.1' && !named.has('close');
  for (const option of ['close', 'keep-alive', 'upgrade', 'te']) named.delete(option);
  if ([...named].some((name) => NEVER_HOP_BY_HOP.test(foldedName(name)))) {
    return refuse(400, 'Connection names a field that is not hop-by-hop');
  }
  const expect = findField(fields, 'expect');
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') return refuse(417, 'unknown expectation');
  const upgrade = findField(fields, 'upgrade');
  const isUpgrade = upgrade !== undefined || wantsUpgrade;
  if (isUpgrade) {
    const isWebSocket = upgrade?.toLowerCase() === 'websocket' && wantsUpgrade;
    const isBare = framing.kind === 'none' && findField(fields, 'content-length') === undefined && expect === undefined;
    if (!isWebSocket || line.method !== 'GET' || line.version !== '1.1' || !isBare) {
      return refuse(400, 'upgrade that is not a WebSocket handshake');
    }
  }
  return { ...line, host, fields, framing, keepAlive, isUpgrade, connectionNamed: named };
}

function requestFraming(fields: readonly HeaderField[], version: '1.0' | '1.1'): Framing | Refusal {
  const length = findField(fields, 'content-length');
  const coding = findField(fields, 'transfer-encoding');
  if (coding !== undefined) {
    if (length !== undefined) return refuse(400, 'two framings');
    if (version === '1.0' || coding.toLowerCase() !== 'chunked') return refuse(400, 'unknown transfer coding');
    return { kind: 'chunked' };
  }
  if (length === undefined) return { kind: 'none' };
  if (!/^[0-9]{1,15}$/.test(length)) return refuse(400, 'malformed Content-Length');
  return length === '0' ? { kind: 'none' } : { kind: 'length', length: Number(length) };
}

function isRefusalOfFraming(value: Framing | Refusal): value is Refusal {
  return 'status' in value;
}

function refuse(status: Refusal['status'], reason: string): Refusal {
  return { status, reason };
}
