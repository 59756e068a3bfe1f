/** A checked request target in origin form. `path` and `query` are the bytes received; nothing is normalised. */
export interface RequestPath {
  readonly path: string;
  /** With its `?`, or empty. */
  readonly query: string;
}

export const MAX_TARGET_BYTES = 8 * 1024;

// RFC 3986's characters of a path, and those that browsers leave as they are. What a URL parser further on would
// re-encode (" < > ^ ` { }) is not among them: the upstream must get the bytes that were routed on.
const PATH = /^\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/[\]|]|%[0-9A-Fa-f]{2})*$/;
const QUERY = /^\?[\x21\x22\x24-\x7e]*$/;
const NOT_PLAIN = /[%;]|\/\.|\/\//;

/**
 * Splits and checks a request target; `undefined` when it is not in origin form or could mean different resources to
 * the proxy and to what stands behind it.
 *
 * Refused are dot segments (raw, encoded, or made by decoding `%2f` and `%5c`, also with `;` parameters), backslashes,
 * control characters, bad escapes, text that is not UTF-8, and an empty first segment (`//host`).
 */
export function parseRequestTarget(target: string): RequestPath | undefined {
  if (target.length > MAX_TARGET_BYTES) return undefined;
  if (isPlain(target)) return { path: target, query: '' };
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? '' : target.slice(mark);
  if (!PATH.test(path) || (query !== '' && !QUERY.test(query))) return undefined;
  if (NOT_PLAIN.test(path) && !isUnambiguous(path)) return undefined;
  return { path, query };
}

const SLASH = 0x2f;
const DOT = 0x2e;
const PLAIN_CHARACTERS = Uint8Array.from({ length: 128 }, (_, code) => {
  const character = String.fromCharCode(code);
  return PATH.test(`/${character}`) && !NOT_PLAIN.test(character) ? 1 : 0;
});

/** A path as most are, without a query, that all the rest of this file would accept: decided in one pass. */
function isPlain(target: string): boolean {
  if (target.charCodeAt(0) !== SLASH) return false;
  let previous = SLASH;
  for (let at = 1; at < target.length; at++) {
    const code = target.charCodeAt(at);
    if (PLAIN_CHARACTERS[code] !== 1 || (previous === SLASH && (code === SLASH || code === DOT))) return false;
    previous = code;
  }
  return true;
}

function isUnambiguous(path: string): boolean {
  if (path.startsWith('//')) return false;
  const decoded = decodePath(path);
  if (decoded === undefined || /[\p{Cc}\\]/u.test(decoded) || decoded.startsWith('//')) return false;
  return !decoded.split('/').some((segment) => {
    const name = segment.split(';', 1)[0];
    return name === '.' || name === '..';
  });
}

/** `undefined` for what is not strict UTF-8: overlong forms and lone surrogates. */
export function decodePath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
