import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';

/** Makes the token that every form carries; it is bound to the session, or to the browser before the login. */
export class Csrf {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  tokenOfSession(sessionId: string): string {
    return this.#sign(`session:${sessionId}`);
  }

  /** @param visitor value of the visitor's cookie */
  tokenOfVisitor(visitor: string): string {
    return this.#sign(`visitor:${visitor}`);
  }

  isValid(token: unknown, expected: string): boolean {
    if (typeof token !== 'string') return false;
    const given = Buffer.from(token, 'utf8');
    const wanted = Buffer.from(expected, 'utf8');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('base64url');
  }
}

/**
 * Whether a request that changes something may have come from a page of this hub, as far as the browser says.
 * Programs that are no browsers send neither header; for them the token decides alone.
 */
export function isOwnOrigin(headers: IncomingHttpHeaders, publicUrl: string): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  const { origin } = headers;
  if (origin === undefined) return true;
  if (!URL.canParse(origin)) return false;
  const { protocol, host } = new URL(origin);
  if (origin === new URL(publicUrl).origin) return true;
  // The proxy lets through the hosts of its list only, and writes the scheme itself.
  return host === headers.host && protocol === `${String(headers['x-forwarded-proto'] ?? 'http')}:`;
}
