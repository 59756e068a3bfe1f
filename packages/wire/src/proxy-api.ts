import { isServerName } from '@metalhub/base/names.js';
import {
  boolean,
  guarded,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  type Shaped,
  text,
} from '@metalhub/base/shape.js';

/**
 * The proxy's control API: HTTP and JSON on {@link PROXY_CONTROL_PATH}, and configurable-http-proxy's part of it on TCP for
 * another hub, with `Authorization: token …`.
 *
 * As in configurable-http-proxy: paths in answers are decoded and have no slash at their end; fields beside `target` are
 * kept and given back; with `proxy.host_routing` the first segment is a host.
 * - `GET /api/routes[?inactive_since=TIME]` → `{[path]: {target, …, last_activity}}`, `ETag`
 * - `GET /api/routes/<path>` → one of them, 404
 * - `POST /api/routes/<path>` with `{target: …}` → 201
 * - `DELETE /api/routes/<path>` → 204, 404; closes the route's open tunnels
 *
 * On the control socket only, for our own hub:
 * - a POST with `auth` (RouteRequest) makes a route of ours. `?host=` puts it on a host of its own.
 * - `GET /api/routes?exact=1` → `{[prefix]: RouteReport}`, never a token, prefixes as requests have them
 * - `PATCH /api/routes` with `{put: [{prefix, route: RouteRequest}], remove: [prefix]}` → 204: many at once
 * - with `If-Match: <ETag>` changes of routes are refused (412) when anything has changed since that list
 * - `PUT /api/keys` with `{keys: [public Ed25519 JWK with kid]}` → 204
 * - `POST /api/revocations` with RevocationRequest, or `{revocations: [RevocationRequest]}` (RevocationListRequest) → 204;
 *   closes the sessions' tunnels, in every generation
 * - `GET /api/status` → ProxyStatus
 *
 * A change is answered once it is on the disk and every generation has it.
 */
export const PROXY_CONTROL_PATH = '/run/metalhub/proxy.sock';
/** Who has it may use the route API on TCP. */
export const PROXY_API_TOKEN_FILE = '/etc/metalhub/secrets/proxy-api-token';
export const HUB_SOCKET_PATH = '/run/metalhub/hub.sock';

export const routeRequestShape = object({
  /** `unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock` (`http+unix:` is understood too). */
  target: text({ min: 1, max: 4096 }),
  /** Who checks the visitor; `upstream` when left out, as a foreign hub expects. */
  auth: optional(oneOf('ticket', 'upstream')),
  /** Hub's name of the user and server that a `ticket` must name. */
  user: optional(text({ min: 1, max: 512 })),
  server: optional(guarded(isServerName, 'a server name')),
  /** Of the unit behind it: a route is replaced, never reused, when the server starts again. */
  invocation_id: optional(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
  /** The server's own token, which the proxy adds to each request. */
  token: optional(text({ pattern: /^[A-Za-z0-9_-]{43}$/, max: 43 })),
});
export type RouteRequest = Shaped<typeof routeRequestShape>;

export interface RouteReport {
  target: string;
  auth: 'ticket' | 'upstream';
  user: string | null;
  server: string | null;
  invocation_id: string | null;
  /** Whose it is: our hub's, or another's. */
  owner: 'hub' | 'other';
  /** ISO 8601, UTC. */
  last_activity: string;
}

export const revocationRequestShape = object({
  session_id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  /** Seconds since the epoch after which no ticket of the session can be valid any more. */
  until: integer(0, 2 ** 40),
});
export type RevocationRequest = Shaped<typeof revocationRequestShape>;

/** Entries of one RevocationListRequest; the proxy takes no more. */
export const MAX_REVOCATIONS_PER_REQUEST = 20_000;
export const revocationListRequestShape = object({
  revocations: list(revocationRequestShape, MAX_REVOCATIONS_PER_REQUEST),
});
export type RevocationListRequest = Shaped<typeof revocationListRequestShape>;

export const proxyStatusShape = object({
  version: text({ max: 64 }),
  pid: integer(1, 2 ** 31),
  routes: integer(0, 1_000_000),
  /** Seconds since the supervisor started. */
  uptime_sec: integer(0, Number.MAX_SAFE_INTEGER),
  generations: (value: unknown) => value as GenerationReport[],
  hub_reachable: nullable(boolean()),
});
/** One worker; those with one number are one generation. */
export interface GenerationReport {
  generation: number;
  pid: number;
  draining: boolean;
  /** ISO 8601, UTC, as the two below. */
  started: string;
  draining_since?: string;
  /** When it closes what is still open. */
  deadline?: string;
  connections: number;
  /** WebSockets among them. */
  tunnels: number;
  /** Its own, and its part of what it shares with others (PSS). */
  memory_bytes?: number;
}
export type ProxyStatus = Shaped<typeof proxyStatusShape>;
