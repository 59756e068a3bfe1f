import { randomBytes } from 'node:crypto';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import { HUB_TICKET_PATH, TICKET_COOKIE, TICKET_PATH, type Ticket } from '@metalhub/wire/ticket.js';
import { cookieValues } from './cookies.js';
import { findField } from './header-fields.js';
import { type Answer, jsonAnswer, ofSomebodyElse, redirect } from './pages.js';
import type { Route } from './proxy-state.js';
import type { RequestHead } from './request-head.js';
import { isFromThisSite } from './same-origin.js';
import type { Settings } from './settings.js';
import { stateCookie, ticketCookie } from './ticket-cookies.js';
import { redeemCode, SpentCodes, stateHash } from './ticket-redeem.js';
import type { TicketRenewal } from './ticket-renewal.js';
import type { TicketVerifier } from './ticket-verifier.js';

export interface Passed {
  readonly kind: 'pass';
  /** The login session behind the ticket, `undefined` where the upstream checks its visitors itself. */
  readonly sessionId: string | undefined;
  /** Set-Cookie lines that go out with the answer. */
  readonly setCookies: readonly string[];
}
export interface Answered {
  readonly kind: 'answer';
  readonly answer: Answer;
}
export type Verdict = Passed | Answered;

/** What the checks of a visitor need. */
export interface GateParts {
  readonly settings: Settings;
  readonly clock: Clock;
  readonly tickets: TicketVerifier;
  readonly renewal: TicketRenewal;
  readonly isRevoked: (sessionId: string) => boolean;
}

interface FoundTicket {
  readonly ticket: Ticket | undefined;
  readonly token: string | undefined;
  readonly isOfSomebodyElse: boolean;
}

const NO_COOKIES: readonly string[] = [];
const PASS_UPSTREAM: Passed = { kind: 'pass', sessionId: undefined, setCookies: [] };
// The longest `next` that the hub accepts; a longer one is left out, and the visitor starts at the server's first page.
const MAX_NEXT_CHARACTERS = 4096;

/** Decides who may pass to a route. */
export class Gate {
  readonly #parts: GateParts;
  readonly #spent = new SpentCodes();

  constructor(parts: GateParts) {
    this.#parts = parts;
  }

  /** @param proto of the address the visitor uses */
  check(head: RequestHead, route: Route, proto: 'http' | 'https'): Verdict | Promise<Verdict> {
    if (route.auth === 'upstream') return PASS_UPSTREAM;
    if (!head.path.startsWith(route.prefix)) return answer(redirect(`${route.prefix}${head.query}`));
    if (head.path.startsWith(`${route.prefix}.metalhub/`)) return this.#answerOwnPath(head, route);
    return this.#checkTicket(head, route, proto);
  }

  async #answerOwnPath(head: RequestHead, route: Route): Promise<Verdict> {
    if (head.path !== `${route.prefix}${TICKET_PATH}` || head.isUpgrade) return answer(jsonAnswer(404, 'no such page'));
    if (head.method !== 'GET') return answer(jsonAnswer(405, 'only GET is possible here', [['Allow', 'GET']]));
    const { ticket } = await this.#verifyTicket(head, route);
    const hasTicket = ticket !== undefined;
    return answer(await redeemCode({ head, route, hasTicket, spent: this.#spent, ...this.#parts }));
  }

  /** At once when the ticket is known. */
  #checkTicket(head: RequestHead, route: Route, proto: 'http' | 'https'): Verdict | Promise<Verdict> {
    const tokens = cookieValues(head.fields, TICKET_COOKIE);
    const found = this.#findTicket(tokens, route, (token) => this.#parts.tickets.findVerified(token));
    if (found.ticket !== undefined) return this.#judge(head, route, found, proto);
    if (tokens.length === 0) return this.#judge(head, route, found, proto);
    return this.#verifyTicket(head, route).then((verified) => this.#judge(head, route, verified, proto));
  }

  #judge(
    head: RequestHead,
    route: Route,
    { ticket, token, isOfSomebodyElse }: FoundTicket,
    proto: 'http' | 'https',
  ): Verdict {
    if (ticket === undefined || token === undefined) {
      if (isOfSomebodyElse) return answer(ofSomebodyElse(isNavigation(head), this.#parts.settings.base_path ?? ''));
      return answer(isNavigation(head) ? this.#sendToHub(head, route) : jsonAnswer(401, 'log in first'));
    }
    if (!isFromThisSite(head, proto, this.#parts.settings.public_origin)) {
      return answer(jsonAnswer(403, 'the request does not come from a page of this site'));
    }
    const renewed = this.#parts.renewal.findRenewed(token, ticket);
    if (renewed === undefined) return { kind: 'pass', sessionId: ticket.session_id, setCookies: NO_COOKIES };
    const maxAgeSec = ticket.exp - ticket.iat;
    const cookie = ticketCookie(route.prefix, renewed, maxAgeSec, this.#parts.settings.is_secure);
    return { kind: 'pass', sessionId: ticket.session_id, setCookies: [cookie] };
  }

  async #verifyTicket(head: RequestHead, route: Route): Promise<FoundTicket> {
    const tokens = cookieValues(head.fields, TICKET_COOKIE);
    const verified = new Map<string, Ticket | undefined>();
    for (const token of tokens) verified.set(token, await this.#parts.tickets.verifyTicket(token));
    return this.#findTicket(tokens, route, (token) => verified.get(token));
  }

  /** Servers of one user lie below each other's paths, so a browser may send several tickets. */
  #findTicket(tokens: readonly string[], route: Route, find: (token: string) => Ticket | undefined): FoundTicket {
    let isOfSomebodyElse = false;
    for (const token of tokens) {
      const ticket = find(token);
      if (ticket === undefined || ticket.path !== route.prefix || !this.#isLive(ticket)) continue;
      if (ticket.user === route.user && ticket.server === route.server)
        return { ticket, token, isOfSomebodyElse: false };
      isOfSomebodyElse = true;
    }
    return { ticket: undefined, token: undefined, isOfSomebodyElse };
  }

  #isLive(ticket: Ticket): boolean {
    return ticket.exp > this.#parts.clock.nowMs() / SECOND_MS && !this.#parts.isRevoked(ticket.session_id);
  }

  #sendToHub(head: RequestHead, route: Route): Answer {
    const state = randomBytes(32).toString('base64url');
    const query = new URLSearchParams({ path: route.prefix, state: stateHash(state) });
    if (head.target.length <= MAX_NEXT_CHARACTERS) query.set('next', head.target);
    const { base_path: base = '', is_secure } = this.#parts.settings;
    return redirect(`${base}${HUB_TICKET_PATH}?${query}`, [stateCookie(route.prefix, state, is_secure)]);
  }
}

/** Whether somebody looks at the answer: browsers say so, older ones by what they accept. */
export function isNavigation(head: RequestHead): boolean {
  if (head.isUpgrade || (head.method !== 'GET' && head.method !== 'HEAD')) return false;
  const mode = findField(head.fields, 'sec-fetch-mode');
  if (mode !== undefined) return mode === 'navigate';
  return (findField(head.fields, 'accept') ?? '').toLowerCase().includes('text/html');
}

function answer(own: Answer): Answered {
  return { kind: 'answer', answer: own };
}
