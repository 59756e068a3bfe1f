import { isServerName } from '@metalhub/base/names.js';
import { guarded, integer, object, oneOf, optional, type Shaped, text } from '@metalhub/base/shape.js';

/**
 * What the hub signs (EdDSA, compact JWS) and the proxy checks without asking. `type` keeps the two from being used
 * for each other; `path` is the canonical route prefix, with both slashes, that the proxy must have matched.
 */
const common = {
  /** `<method>:<name>` would leak the method to the page's owner; the hub's user name is enough. */
  user: text({ min: 1, max: 512 }),
  server: guarded(isServerName, 'a server name'),
  path: text({ pattern: /^\/[\x21-\x7e]*\/$/, max: 4096 }),
  /** Of the login session at the hub; revoking it ends every ticket made from it. Never the session's cookie itself. */
  session_id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  /** Seconds since the epoch. */
  iat: integer(0, 2 ** 40),
  exp: integer(0, 2 ** 40),
};

/** The cookie: authority over one server's path. */
export const ticketShape = object({ type: oneOf('ticket'), ...common });
export type Ticket = Shaped<typeof ticketShape>;

/** Goes through the browser once, in the query of `<path>.metalhub/ticket`; carries the ticket to be set. */
export const ticketCodeShape = object({
  type: oneOf('code'),
  ...common,
  /** Spent at first use. */
  jti: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  /** SHA-256 (hex) of the proxy's state cookie: the code works only in the browser that asked. */
  state_hash: text({ pattern: /^[0-9a-f]{64}$/, max: 64 }),
  ticket: text({ max: 4096 }),
  /** Where to go on: a path below `path`, with query. */
  next: optional(text({ pattern: /^\/[\x21-\x7e]*$/, max: 8192 })),
});
export type TicketCode = Shaped<typeof ticketCodeShape>;

export const TICKET_LIFETIME_SEC = 12 * 3600;
export const TICKET_CODE_LIFETIME_SEC = 60;
/** Cookie names; both are scoped to the server's path. The proxy never forwards a cookie that begins with the prefix. */
export const HUB_COOKIE_PREFIX = 'metalhub-';
export const TICKET_COOKIE = 'metalhub-ticket';
export const TICKET_STATE_COOKIE = 'metalhub-ticket-state';
/** Below a server's prefix, owned by the proxy. */
export const TICKET_PATH = '.metalhub/ticket';

/**
 * Where the proxy sends a browser that has no ticket, below the path of `public_url`:
 * `/hub/ticket?path=<prefix>&state=<hash>&next=<path below prefix>`. The hub answers with a redirect to the login page,
 * to the start page, to `<prefix>.metalhub/ticket?code=<code>`, or refuses.
 */
export const HUB_TICKET_PATH = '/hub/ticket';
/**
 * POST {ticket} on hub.sock by the proxy itself, with header `X-Metalhub-Proxy: 1` that it removes from
 * clients' requests; never below the path of `public_url`, so that proxies of before and after its change are understood.
 */
export const HUB_TICKET_RENEW_PATH = '/hub/internal/ticket-renew';
