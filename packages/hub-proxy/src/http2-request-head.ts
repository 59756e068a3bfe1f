/** A request as the strict front reads it: a head of HTTP/1.1, and how its body is to be framed behind it. */
export interface Http1Request {
  /** In latin1, its empty line included. */
  readonly head: string;
  readonly method: string;
  readonly body: 'none' | 'length' | 'chunked';
  /** What Content-Length announces. */
  readonly length: number;
}

const PSEUDO = new Set([':method', ':scheme', ':authority', ':path']);
const METHOD = /^[A-Z][A-Z0-9-]{0,31}$/;
const TARGET = /^[\x21-\x7e]+$/;
const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^[^\0\r\n]*$/;
/** Of HTTP/1.1 alone; in HTTP/2 they would be read by the next one on the way. @see RFC 9113 section 8.2.2 */
const CONNECTION_SPECIFIC = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

/**
 * Writes the fields of an HTTP/2 request as a head of HTTP/1.1, which is then read by the same rules as one that came
 * as such. What could end a line or a head early is refused here: behind it the difference is gone.
 *
 * @param raw names and values in turn, as received
 * @param hasBody whether DATA may follow
 * @returns what is wrong with it, constant text, when it is malformed
 * @see RFC 9113 sections 8.1.1, 8.2 and 8.3
 */
export function http1Request(raw: readonly string[], hasBody: boolean): Http1Request | string {
  const pseudo = new Map<string, string>();
  const lines: string[] = [];
  const cookies: string[] = [];
  let host: string | undefined;
  let length: string | undefined;
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (!VALUE.test(value)) return 'line break in a field of HTTP/2';
    if (name.startsWith(':')) {
      if (!PSEUDO.has(name) || pseudo.has(name) || lines.length > 0) return 'unknown or misplaced pseudo-field';
      pseudo.set(name, value);
      continue;
    }
    if (!NAME.test(name) || CONNECTION_SPECIFIC.has(name)) return 'field not allowed in HTTP/2';
    switch (name) {
      case 'host':
        if (host !== undefined) return 'repeated host';
        host = value;
        continue;
      case 'cookie':
        cookies.push(value);
        continue;
      case 'te':
        if (value.toLowerCase() !== 'trailers') return 'field not allowed in HTTP/2';
        continue;
      case 'content-length':
        if (length !== undefined || !/^[0-9]{1,15}$/.test(value)) return 'malformed content-length';
        length = value;
        continue;
    }
    lines.push(`${name}: ${value}`);
  }
  const method = pseudo.get(':method') ?? '';
  const target = pseudo.get(':path') ?? '';
  const authority = pseudo.get(':authority') ?? host;
  if (!METHOD.test(method) || !TARGET.test(target) || pseudo.get(':scheme') !== 'https') return 'malformed request';
  if (authority === undefined || authority === '') return 'no authority';
  if (host !== undefined && host.toLowerCase() !== authority.toLowerCase()) return 'host and authority differ';
  if (!hasBody && Number(length ?? 0) > 0) return 'content-length without content';
  if (cookies.length > 0) lines.push(`cookie: ${cookies.join('; ')}`);
  const body = hasBody ? (length === undefined ? 'chunked' : 'length') : 'none';
  if (body === 'chunked') lines.push('transfer-encoding: chunked');
  if (length !== undefined) lines.push(`content-length: ${length}`);
  // One request each: the connection that is imitated ends with its answer.
  const head = [`${method} ${target} HTTP/1.1`, `host: ${authority}`, ...lines, 'connection: close', '', ''].join(
    '\r\n',
  );
  return { head, method, body, length: Number(length ?? 0) };
}
