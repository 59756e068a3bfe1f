import { createHash, timingSafeEqual } from 'node:crypto';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import { TICKET_STATE_COOKIE, type TicketCode } from '@metalhub/wire/ticket.js';
import { cookieValues } from './cookies.js';
import { type Answer, cookiesNeeded, page, redirect } from './pages.js';
import { parseRequestTarget } from './path.js';
import type { Route } from './proxy-state.js';
import type { RequestHead } from './request-head.js';
import type { Settings } from './settings.js';
import { expiredStateCookie, ticketCookie } from './ticket-cookies.js';
import type { TicketVerifier } from './ticket-verifier.js';

const MAX_SPENT = 65_536;

/** Codes that have been used, until they would have expired anyway. */
export class SpentCodes {
  readonly #expSec = new Map<string, number>();

  /** @returns false when it was spent before, or when too many are remembered to be sure */
  spend(jti: string, expSec: number, nowSec: number): boolean {
    if (this.#expSec.has(jti)) return false;
    if (this.#expSec.size >= MAX_SPENT) {
      for (const [old, oldExpSec] of this.#expSec) if (oldExpSec < nowSec) this.#expSec.delete(old);
      if (this.#expSec.size >= MAX_SPENT) return false;
    }
    this.#expSec.set(jti, expSec);
    return true;
  }
}

/** SHA-256 in hexadecimal: what of the state cookie the hub gets to see. */
export function stateHash(state: string): string {
  return createHash('sha256').update(state).digest('hex');
}

export interface RedeemParts {
  readonly head: RequestHead;
  readonly route: Route;
  /** The browser has a valid ticket already, from another tab. */
  readonly hasTicket: boolean;
  readonly spent: SpentCodes;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly tickets: TicketVerifier;
  readonly isRevoked: (sessionId: string) => boolean;
}

/** Turns the hub's one-time code into the ticket cookie and sends the browser on. */
export async function redeemCode(parts: RedeemParts): Promise<Answer> {
  const { head, route, settings, tickets } = parts;
  const text = new URLSearchParams(head.query).get('code') ?? '';
  const code = await tickets.verifyCode(text);
  if (code === undefined || !isFor(code, route)) return invalidLink(route);
  const next = checkedNext(code.next, route);
  if (parts.hasTicket) return redirect(next);
  const states = cookieValues(head.fields, TICKET_STATE_COOKIE);
  if (states.length === 0) return cookiesNeeded(settings.base_path ?? '');
  const ticket = await tickets.verifyTicket(code.ticket);
  const nowSec = Math.floor(parts.clock.nowMs() / SECOND_MS);
  const isLive =
    code.exp > nowSec &&
    states.some((state) => isSameHash(stateHash(state), code.state_hash)) &&
    ticket !== undefined &&
    isFor(ticket, route) &&
    ticket.session_id === code.session_id &&
    ticket.exp > nowSec &&
    !parts.isRevoked(code.session_id);
  if (!isLive || !parts.spent.spend(code.jti, code.exp, nowSec)) return tryAgain(route);
  return redirect(next, [
    ticketCookie(route.prefix, code.ticket, ticket.exp - nowSec, settings.is_secure),
    expiredStateCookie(route.prefix, settings.is_secure),
  ]);
}

function isFor(claims: Pick<TicketCode, 'path' | 'user' | 'server'>, route: Route): boolean {
  return claims.path === route.prefix && claims.user === route.user && claims.server === route.server;
}

function isSameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

/** Only below the server's own prefix, and only what the front itself would accept. */
function checkedNext(next: string | undefined, route: Route): string {
  if (next === undefined || !next.startsWith(route.prefix)) return route.prefix;
  if (parseRequestTarget(next) === undefined || next.startsWith(`${route.prefix}.metalhub/`)) return route.prefix;
  return next;
}

/** Not signed by a hub this proxy knows: going back to it by itself could go in circles. */
function invalidLink(route: Route): Answer {
  return page(403, {
    title: 'This link is not valid',
    paragraphs: ['It is not a link of this hub, or it belongs to another server.'],
    link: { href: route.prefix, text: 'To the server' },
  });
}

/** Expired, used before, or another tab was faster: a second way round helps. */
function tryAgain(route: Route): Answer {
  return page(403, {
    title: 'This link was used already',
    paragraphs: ['It can be used once, for a minute, in the browser that asked for it.'],
    link: { href: route.prefix, text: 'Go on to the server' },
  });
}
