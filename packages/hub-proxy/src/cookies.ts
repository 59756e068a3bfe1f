import { HUB_COOKIE_PREFIX } from '@metalhub/wire/ticket.js';
import { type HeaderField, NameMemo } from './header-fields.js';

/** Cookies that belong to the hub and the proxy, also under the browser's protected prefixes. */
export function isHubCookie(name: string): boolean {
  return hubCookies.get(name);
}

const hubCookies = new NameMemo((name) =>
  name
    .toLowerCase()
    .replace(/^__(?:host|secure)-/, '')
    .startsWith(HUB_COOKIE_PREFIX),
);

/** Values of all cookies of that name, the one with the longest path first, at most `limit`. */
export function cookieValues(fields: readonly HeaderField[], name: string, limit = 4): string[] {
  const values: string[] = [];
  const start = `${name}=`;
  eachPair(fields, (line, from, to) => {
    if (values.length < limit && line.startsWith(start, from)) values.push(line.slice(from + start.length, to));
  });
  return values;
}

/** The Cookie line without the hub's own, `undefined` when none is left. */
export function withoutHubCookies(fields: readonly HeaderField[]): string | undefined {
  let kept: string | undefined;
  eachPair(fields, (line, from, to) => {
    const pair = line.slice(from, to);
    if (mayBeHubCookie(line.charCodeAt(from)) && isHubCookie(nameOf(pair))) return;
    kept = kept === undefined ? pair : `${kept}; ${pair}`;
  });
  return kept;
}

const SPACE = 0x20;
const TAB = 0x09;

/** Calls with the places of each pair in its line, without blanks around it. */
function eachPair(fields: readonly HeaderField[], take: (line: string, from: number, to: number) => void): void {
  for (const { lower, value } of fields) {
    if (lower !== 'cookie') continue;
    for (let at = 0; at < value.length; ) {
      const semicolon = value.indexOf(';', at);
      const next = semicolon < 0 ? value.length : semicolon;
      let [from, to] = [at, next];
      while (from < to && isBlank(value.charCodeAt(from))) from++;
      while (to > from && isBlank(value.charCodeAt(to - 1))) to--;
      if (from < to) take(value, from, to);
      at = next + 1;
    }
  }
}

/** No-break space is a blank to some that read cookies. */
function isBlank(code: number): boolean {
  return code === SPACE || code === TAB || code === 0xa0;
}

/** By its first character: `m`, `M`, or `_` as of the protected prefixes. */
function mayBeHubCookie(first: number): boolean {
  return (first | 0x20) === 0x6d || first === 0x5f;
}

function nameOf(pair: string): string {
  const equals = pair.indexOf('=');
  return equals < 0 ? pair : pair.slice(0, equals);
}

/**
 * Whether a server below `prefix` may set this cookie: not the hub's names, not for other paths, not for a whole domain.
 * @param prefix canonical route prefix with both slashes
 */
export function mayServerSetCookie(setCookie: string, prefix: string): boolean {
  const [pair = '', ...attributes] = setCookie.split(';').map((part) => part.trim());
  const name = pair.includes('=') ? pair.slice(0, pair.indexOf('=')).trim() : '';
  if (name === '' || isHubCookie(name)) return false;
  for (const attribute of attributes) {
    const [key = '', value = ''] = splitOnce(attribute);
    if (key.toLowerCase() === 'domain') return false;
    if (key.toLowerCase() === 'path' && !`${value}/`.startsWith(prefix) && !value.startsWith(prefix)) return false;
  }
  return true;
}

function splitOnce(attribute: string): [string, string] {
  const equals = attribute.indexOf('=');
  if (equals < 0) return [attribute, ''];
  return [attribute.slice(0, equals).trim(), attribute.slice(equals + 1).trim()];
}
