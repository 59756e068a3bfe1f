import { HUB_COOKIE_PREFIX } from '@metalhub/wire/ticket.js';
import type { HeaderField } from './header-fields.js';

/** Cookies that belong to the hub and the proxy, also under the browser's protected prefixes. */
export function isHubCookie(name: string): boolean {
  const lower = name.toLowerCase();
  return lower.replace(/^__(?:host|secure)-/, '').startsWith(HUB_COOKIE_PREFIX);
}

/** Values of all cookies of that name, the one with the longest path first, at most `limit`. */
export function cookieValues(fields: readonly HeaderField[], name: string, limit = 4): string[] {
  const values: string[] = [];
  for (const pair of cookiePairs(fields)) {
    if (pair.startsWith(`${name}=`) && values.length < limit) values.push(pair.slice(name.length + 1));
  }
  return values;
}

/** The Cookie line without the hub's own, `undefined` when none is left. */
export function withoutHubCookies(fields: readonly HeaderField[]): string | undefined {
  const kept = cookiePairs(fields).filter((pair) => !isHubCookie(pair.split('=', 1)[0] ?? ''));
  return kept.length > 0 ? kept.join('; ') : undefined;
}

function cookiePairs(fields: readonly HeaderField[]): string[] {
  const lines = fields.filter(({ lower }) => lower === 'cookie').map(({ value }) => value);
  return lines
    .flatMap((line) => line.split(';'))
    .map((pair) => pair.trim())
    .filter((pair) => pair !== '');
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
