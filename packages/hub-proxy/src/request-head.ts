import type { Framing } from './body-reader.js';
import { foldedName, type HeaderField, listMembers, NameMemo, readHeaderFields } from './header-fields.js';
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

/** Whether it may be sent twice: nothing is changed by it, and no body of it is gone. */
export function isRepeatable({ method, framing }: RequestHead): boolean {
  return (method === 'GET' || method === 'HEAD') && framing.kind === 'none';
}

/** Why a request was not understood. `reason` is constant text, fit for a log. */
export interface Refusal {
  readonly status: 400 | 405 | 414 | 417 | 421 | 431 | 501 | 505;
  readonly reason: string;
}

/** Unless the configuration says otherwise. */
export const MAX_HEADER_FIELDS = 100;

const REQUEST_LINE = /^([A-Z][A-Z0-9-]{0,31}) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/;
const REFUSED_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK', 'PRI']);
// Taking one of these away by naming it in Connection would change who is asking, or what.
const NEVER_HOP_BY_HOP =
  /^(?:host|cookie|authorization|origin|referer|content-.*|transfer-encoding|expect|range|sec-.*|x-.*|forwarded|accept|user-agent|if-.*|te|trailer|date|cache-control)$/;
/** A bit for each field that may come once only. */
const SINGLE_FIELDS = new Map(
  [
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
  ].map((name, index) => [name, 1 << index] as const),
);
const singleBits = new NameMemo((lower) => SINGLE_FIELDS.get(lower) ?? 0);
const NOTHING_NAMED: ReadonlySet<string> = new Set();
const NO_BODY: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };

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
export function parseRequestHead(head: string, maxFields = MAX_HEADER_FIELDS): RequestHead | Refusal {
  const lineEnd = head.indexOf('\r\n');
  const line = REQUEST_LINE.exec(lineEnd < 0 ? head : head.slice(0, lineEnd));
  if (line === null) return refuse(400, 'malformed request line');
  const [, method = '', target = '', major, minor] = line;
  if (major !== '1' || (minor !== '0' && minor !== '1')) return refuse(505, 'unsupported version');
  if (REFUSED_METHODS.has(method)) return refuse(405, 'method not allowed');
  const parsed = parseRequestTarget(target);
  if (parsed === undefined) return refuse(400, 'request target not in origin form or ambiguous');
  const fields = lineEnd < 0 ? [] : readHeaderFields(head, lineEnd + 2, maxFields);
  if (typeof fields === 'string') return refuse(fields === 'too many header fields' ? 431 : 400, fields);
  const { path, query } = parsed;
  return understand(fields, { method, target, path, query, version: minor === '0' ? '1.0' : '1.1' });
}

type RequestLine = Pick<RequestHead, 'method' | 'target' | 'path' | 'query' | 'version'>;

function understand(fields: readonly HeaderField[], line: RequestLine): RequestHead | Refusal {
  let seen = 0;
  let hostText = '';
  let length: string | undefined;
  let coding: string | undefined;
  let upgrade: string | undefined;
  let expect: string | undefined;
  let connection: string | undefined;
  for (const { lower, value } of fields) {
    const bit = singleBits.get(lower);
    if ((seen & bit) !== 0) return refuse(400, 'repeated header field');
    seen |= bit;
    if (lower === 'connection') connection = connection === undefined ? value : `${connection},${value}`;
    else if (bit === 0) continue;
    else if (lower === 'host') hostText = value;
    else if (lower === 'content-length') length = value;
    else if (lower === 'transfer-encoding') coding = value;
    else if (lower === 'upgrade') upgrade = value;
    else if (lower === 'expect') expect = value;
  }
  const host = parseHost(hostText);
  if (host === undefined) return refuse(400, 'no valid Host');
  const framing = length === undefined && coding === undefined ? NO_BODY : requestFraming(length, coding, line.version);
  if ('status' in framing) return framing;
  const named = connection === undefined ? NOTHING_NAMED : new Set(listMembers(connection));
  const wantsUpgrade = named.has('upgrade');
  const keepAlive = line.version === '1.1' && !named.has('close');
  const connectionNamed = withoutOptions(named);
  for (const name of connectionNamed) {
    if (NEVER_HOP_BY_HOP.test(foldedName(name))) return refuse(400, 'Connection names a field that is not hop-by-hop');
  }
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') return refuse(417, 'unknown expectation');
  const isUpgrade = upgrade !== undefined || wantsUpgrade;
  if (isUpgrade) {
    const isWebSocket = upgrade?.toLowerCase() === 'websocket' && wantsUpgrade;
    const isBare = framing.kind === 'none' && length === undefined && expect === undefined;
    if (!isWebSocket || line.method !== 'GET' || line.version !== '1.1' || !isBare) {
      return refuse(400, 'upgrade that is not a WebSocket handshake');
    }
  }
  const { method, target, path, query, version } = line;
  return { method, target, path, query, version, host, fields, framing, keepAlive, isUpgrade, connectionNamed };
}

function requestFraming(
  length: string | undefined,
  coding: string | undefined,
  version: '1.0' | '1.1',
): Framing | Refusal {
  if (coding !== undefined) {
    if (length !== undefined) return refuse(400, 'two framings');
    if (version === '1.0' || coding.toLowerCase() !== 'chunked') return refuse(400, 'unknown transfer coding');
    return CHUNKED;
  }
  if (length === undefined) return NO_BODY;
  if (!/^[0-9]{1,15}$/.test(length)) return refuse(400, 'malformed Content-Length');
  const bytes = Number(length);
  return bytes === 0 ? NO_BODY : { kind: 'length', length: bytes };
}

/** What is left are names of fields. */
function withoutOptions(named: ReadonlySet<string>): ReadonlySet<string> {
  let names: Set<string> | undefined;
  for (const name of named) {
    if (name === 'close' || name === 'keep-alive' || name === 'upgrade' || name === 'te') continue;
    names ??= new Set();
    names.add(name);
  }
  return names ?? NOTHING_NAMED;
}

function refuse(status: Refusal['status'], reason: string): Refusal {
  return { status, reason };
}
