import { isServerName } from '@metalhub/base/names.js';
import {
  guarded,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  type Shape,
  type Shaped,
  ShapeError,
  text,
} from '@metalhub/base/shape.js';
import { HUB_SOCKET_PATH } from '@metalhub/wire/proxy-api.js';
import { formatTarget, targetShape } from './target.js';

/** What the proxy knows for good: stored in state.json and sent to every generation; see state-format.ts. */

export const ROUTE_PREFIX_PATTERN = /^\/(?:(?:[A-Za-z0-9\-._~!$&'()*+=:@]|%[0-9A-F]{2})+\/)*$/;

export const ROUTE_HOST_PATTERN = /^(?:[a-z0-9][a-z0-9.-]*|\[[0-9a-f:.]+\])$/;

export const MAX_ROUTE_DATA_CHARACTERS = 4096;

/** What a foreign hub sent with its route, `target` included, word for word: it is given back to it. */
export const routeDataShape: Shape<Readonly<Record<string, unknown>>> = (value, path) => {
  const isRecord = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isRecord || jsonLength(value) > MAX_ROUTE_DATA_CHARACTERS) {
    throw new ShapeError(`${path}: expected an object of at most ${MAX_ROUTE_DATA_CHARACTERS} characters of JSON`);
  }
  return value as Readonly<Record<string, unknown>>;
};

/** What is nested too deeply counts as too long. */
function jsonLength(value: object): number {
  try {
    return JSON.stringify(value).length;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

export const routeShape = object({
  /** Canonical: percent-encoded as in the address bar, with both slashes. */
  prefix: text({ pattern: ROUTE_PREFIX_PATTERN, max: 4096 }),
  /** In normal form; `null` for every host that has no routes of its own. */
  host: nullable(text({ pattern: ROUTE_HOST_PATTERN, max: 253 })),
  target: targetShape,
  auth: oneOf('ticket', 'upstream'),
  /** The hub's user name that a ticket must carry; set exactly for `ticket`. */
  user: nullable(text({ min: 1, max: 512 })),
  server: nullable(guarded(isServerName, 'a server name')),
  invocation_id: nullable(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
  token: nullable(text({ pattern: /^[A-Za-z0-9_-]{43}$/, max: 43 })),
  /** `null` for routes of our own hub. Generations get an empty object for the others. */
  data: nullable(routeDataShape),
});
export type Route = Shaped<typeof routeShape>;

/** An Ed25519 public key; the private half `d` is refused like any unknown key. */
export const publicKeyShape = object({
  kty: oneOf('OKP'),
  crv: oneOf('Ed25519'),
  x: text({ pattern: /^[A-Za-z0-9_-]{43}$/, max: 43 }),
  kid: text({ pattern: /^[\x21-\x7e]{1,128}$/, max: 128 }),
  alg: optional(oneOf('EdDSA', 'Ed25519')),
  use: optional(oneOf('sig')),
});
export type PublicKey = Shaped<typeof publicKeyShape>;

export const revocationShape = object({
  session_id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  /** Seconds since the epoch; forgotten afterwards. */
  until: integer(0, 2 ** 40),
});
export type Revocation = Shaped<typeof revocationShape>;

export const MAX_ROUTES = 20_000;
/** Characters of a prefix and a host. */
export const MAX_ROUTE_KEY = 4096 + 253 + 1;
export const MAX_KEYS = 8;
export const MAX_REVOCATIONS = 50_000;

export const proxyStateShape = object({
  /** Grows with every change; a generation ignores an older state than it has. */
  version: integer(0, Number.MAX_SAFE_INTEGER),
  routes: list(routeShape, MAX_ROUTES),
  keys: list(publicKeyShape, MAX_KEYS),
  revocations: list(revocationShape, MAX_REVOCATIONS),
});
export type ProxyState = Shaped<typeof proxyStateShape>;

/** A change of the state, as it lies in the journal and goes to the generations. */
export const deltaShape = object({
  /** Of the state after the change; the one before had the number before. */
  version: integer(1, Number.MAX_SAFE_INTEGER),
  /** Keys of routes. Taken out before `put` is put in. */
  remove: list(text({ max: MAX_ROUTE_KEY }), MAX_ROUTES),
  put: list(routeShape, MAX_ROUTES),
  keys: nullable(list(publicKeyShape, MAX_KEYS)),
  revoke: list(revocationShape, MAX_REVOCATIONS),
});
export type Delta = Shaped<typeof deltaShape>;

/**
 * What no other route takes goes to the hub; always there, never stored.
 * @param prefix with both slashes: the base of the public address, outside of which nothing is the hub's
 */
export function defaultRoute(hubSocketPath: string = HUB_SOCKET_PATH, prefix = '/'): Route {
  return {
    prefix,
    host: null,
    target: { kind: 'unix', path: hubSocketPath },
    auth: 'upstream',
    user: null,
    server: null,
    invocation_id: null,
    token: null,
    data: null,
  };
}

export const EMPTY_STATE: ProxyState = { version: 0, routes: [], keys: [], revocations: [] };

/** `/user/anna/`, or `anna.example.org/user/anna/` for a host of its own. */
export function routePlace(at: Pick<Route, 'host' | 'prefix'>): string {
  return `${at.host ?? ''}${at.prefix}`;
}

/** One route per place and owner: another hub's begin with `~`, so that two hubs do not replace each other's. */
export function routeKey(route: Pick<Route, 'host' | 'prefix' | 'data'>): string {
  return route.data === null ? routePlace(route) : foreignKey(route);
}

export function foreignKey(at: Pick<Route, 'host' | 'prefix'>): string {
  return `~${routePlace(at)}`;
}

const identities = new WeakMap<Route, string>();

/** Two routes with one identity lead to the same running server for the same visitor: what is open may stay open. */
export function routeIdentity(route: Route): string {
  let identity = identities.get(route);
  if (identity === undefined) {
    const target = formatTarget(route.target);
    identity = JSON.stringify([routeKey(route), target, route.auth, route.user, route.server, route.invocation_id]);
    identities.set(route, identity);
  }
  return identity;
}

export function isSameRoute(a: Route, b: Route): boolean {
  return (
    routeIdentity(a) === routeIdentity(b) && a.token === b.token && JSON.stringify(a.data) === JSON.stringify(b.data)
  );
}
