import { TICKET_COOKIE, TICKET_STATE_COOKIE } from '@metalhub/wire/ticket.js';

/** Seconds a browser may take from the first redirect to its return: a login lies in between. */
export const STATE_LIFETIME_SEC = 600;

export function ticketCookie(prefix: string, ticket: string, maxAgeSec: number, isSecure: boolean): string {
  return setCookie(TICKET_COOKIE, ticket, prefix, maxAgeSec, isSecure);
}

export function stateCookie(prefix: string, state: string, isSecure: boolean): string {
  return setCookie(TICKET_STATE_COOKIE, state, prefix, STATE_LIFETIME_SEC, isSecure);
}

export function expiredStateCookie(prefix: string, isSecure: boolean): string {
  return setCookie(TICKET_STATE_COOKIE, '', prefix, 0, isSecure);
}

/** A prefix has no character that ends an attribute (proxy-state.ts), a ticket is base64url and dots. */
function setCookie(name: string, value: string, path: string, maxAgeSec: number, isSecure: boolean): string {
  const secure = isSecure ? '; Secure' : '';
  return `${name}=${value}; Path=${path}; Max-Age=${Math.max(0, Math.floor(maxAgeSec))}; HttpOnly; SameSite=Lax${secure}`;
}
