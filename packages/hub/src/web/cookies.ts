import type { CookieSerializeOptions } from '@fastify/cookie';
import { basePath } from '@metalhub/config/base-path.js';

/** Value `<id>.<secret>`, see auth/sessions.ts. */
export const SESSION_COOKIE = 'metalhub-session';
/** Random, of a browser that has not logged in: the login form's token is bound to it. */
export const VISITOR_COOKIE = 'metalhub-csrf';

const MAX_VALUES = 4;

/**
 * All values that a browser sends for a cookie's name; more than one means that another page of the site has set one
 * for a longer path or a parent domain.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  const values = (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
  return [...new Set(values)].slice(0, MAX_VALUES);
}

/** The hub's cookies go to the hub's pages only: never to a user's server, nor to what else the site has. */
export function cookieOptions(publicUrl: string): CookieSerializeOptions {
  const path = `${basePath(publicUrl)}/hub/`;
  return { path, httpOnly: true, sameSite: 'lax', secure: publicUrl.startsWith('https://') };
}
