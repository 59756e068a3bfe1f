import { MetalhubError } from '@metalhub/base/errors.js';
import { SERVERS_DIRECTORY } from '@metalhub/base/names.js';
import { HUB_SOCKET_PATH, type RouteRequest } from '@metalhub/wire/proxy-api.js';
import { parseRequestTarget } from './path.js';
import { ROUTE_PREFIX_PATTERN, type Route } from './proxy-state.js';
import { isUnixTarget, type Target } from './target.js';

/** Where a route may lead: the hub, and sockets that systemd made for servers. */
export interface AllowedTargets {
  readonly hubSocketPath: string;
  readonly serversDirectory: string;
}

export const ALLOWED_TARGETS: AllowedTargets = { hubSocketPath: HUB_SOCKET_PATH, serversDirectory: SERVERS_DIRECTORY };

const TARGET = /^(?:unix\+http|http\+unix):\/\/((?:[A-Za-z0-9._:-]|%[0-9A-Fa-f]{2})+)\/?$/i;
const SOCKET_NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]*\.sock$/;

/**
 * Understands a target like `unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock`.
 * @throws {MH_ERR_PROXY_TARGET} anything else than the hub's socket or one directly in the servers' directory
 */
export function parseTarget(target: string, allowed: AllowedTargets = ALLOWED_TARGETS): Target {
  const [, encoded] = TARGET.exec(target) ?? [];
  const path = encoded === undefined ? '' : decode(encoded);
  const inServers = `${allowed.serversDirectory}/`;
  const isServer = path.startsWith(inServers) && SOCKET_NAME.test(path.slice(inServers.length));
  if (path !== allowed.hubSocketPath && !isServer) {
    throw new MetalhubError('MH_ERR_PROXY_TARGET', {
      hint: `only ${allowed.hubSocketPath} and sockets directly in ${allowed.serversDirectory} can be routed to`,
    });
  }
  return { kind: 'unix', path };
}

/**
 * Brings a prefix to its canonical form, with a slash at its end.
 * @param raw percent-encoded, as it appears in requests
 * @throws {MH_ERR_PROXY_ROUTE}
 */
export function parsePrefix(raw: string): string {
  const prefix = raw.endsWith('/') ? raw : `${raw}/`;
  if (!ROUTE_PREFIX_PATTERN.test(prefix) || parseRequestTarget(prefix) === undefined) {
    throw routeError('the prefix is not a canonical path');
  }
  return prefix;
}

/** @throws {MH_ERR_PROXY_TARGET} {MH_ERR_PROXY_ROUTE} */
export function makeRoute(rawPrefix: string, request: RouteRequest, allowed: AllowedTargets = ALLOWED_TARGETS): Route {
  const prefix = parsePrefix(rawPrefix);
  const target = parseTarget(request.target, allowed);
  const isHub = isUnixTarget(target, allowed.hubSocketPath);
  const auth = request.auth ?? 'upstream';
  if (prefix === '/' && (auth !== 'upstream' || !isHub)) {
    throw routeError('the prefix / belongs to the hub');
  }
  if (auth === 'ticket') {
    if (isHub) throw routeError('the hub checks its visitors itself');
    if (request.user === undefined || request.server === undefined) throw routeError('ticket needs user and server');
  }
  return {
    prefix,
    host: null,
    target,
    auth,
    user: request.user ?? null,
    server: request.server ?? null,
    invocation_id: request.invocation_id ?? null,
    token: request.token ?? null,
    data: null,
  };
}

function routeError(reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_PROXY_ROUTE', { details: { reason } });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}
