import { isIP } from 'node:net';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { SERVERS_DIRECTORY } from '@metalhub/base/names.js';
import { HUB_SOCKET_PATH, type RouteRequest } from '@metalhub/wire/proxy-api.js';
import type { AddressRanges } from './address-ranges.js';
import { parseRequestTarget } from './path.js';
import { ROUTE_PREFIX_PATTERN, type Route, routeDataShape } from './proxy-state.js';
import { isUnixTarget, type Target } from './target.js';

/** Where a route may lead: the hub, and sockets that systemd made for servers; for another hub more by configuration. */
export interface AllowedTargets {
  readonly hubSocketPath: string;
  readonly serversDirectory: string;
  /** Further directories of sockets. */
  readonly socketDirectories?: readonly string[];
  /** `undefined` without TCP. */
  readonly ranges?: AddressRanges | undefined;
}

export const ALLOWED_TARGETS: AllowedTargets = { hubSocketPath: HUB_SOCKET_PATH, serversDirectory: SERVERS_DIRECTORY };

const UNIX = /^(?:unix\+http|http\+unix):\/\/((?:[A-Za-z0-9._:-]|%[0-9A-Fa-f]{2})+)(\/.*)?$/i;
const TCP = /^(https?):\/\/(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?)(?::([0-9]{1,5}))?(\/.*)?$/i;
const MAX_SOCKET_PATH = 107;
const SOCKET_NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]*\.sock$/;
const FOREIGN_SOCKET_NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;

/**
 * Understands a target like `unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock`, `http+unix://…` or `http://127.0.0.1:8888`.
 *
 * @throws {MH_ERR_PROXY_TARGET} anything that is not allowed, or could be read in two ways
 */
export function parseTarget(target: string, allowed: AllowedTargets = ALLOWED_TARGETS): Target {
  const [, socket, socketBase] = UNIX.exec(target) ?? [];
  if (socket !== undefined)
    return withBase({ kind: 'unix', path: allowedSocket(decode(socket), allowed) }, socketBase, allowed);
  const [, scheme, name, portText, base] = TCP.exec(target) ?? [];
  if (scheme === undefined || name === undefined || allowed.ranges === undefined) throw targetError(allowed);
  const tls = scheme.toLowerCase() === 'https';
  const port = portText === undefined ? (tls ? 443 : 80) : Number(portText);
  const host = name.replace(/^\[|\]$/g, '').toLowerCase();
  const isAddress = isIP(host) !== 0;
  // Digits and dots that are no address (127.1, 0177.0.0.1) mean one to some resolvers.
  const isStrange = !isAddress && (host.includes(':') || host.includes('..') || /(?:^|\.)[0-9]+$/.test(host));
  if (port < 1 || port > 65_535 || isStrange || (isAddress && !allowed.ranges.allows(host))) throw targetError(allowed);
  return withBase({ kind: 'tcp', host, port, tls }, base, allowed);
}

function allowedSocket(path: string, allowed: AllowedTargets): string {
  const slash = path.lastIndexOf('/');
  const [directory, name] = [path.slice(0, slash), path.slice(slash + 1)];
  const isServer = directory === allowed.serversDirectory && SOCKET_NAME.test(name);
  const isForeign = allowed.socketDirectories?.includes(directory) === true && FOREIGN_SOCKET_NAME.test(name);
  if ((path !== allowed.hubSocketPath && !isServer && !isForeign) || path.length > MAX_SOCKET_PATH)
    throw targetError(allowed);
  return path;
}

/** The address for error pages; a wrong one is reported and does without. */
export function findErrorTarget(text: string, ranges: AddressRanges, log: Log): Target | undefined {
  if (text === '') return undefined;
  try {
    return parseTarget(text, { ...ALLOWED_TARGETS, ranges });
  } catch (error) {
    log.error('proxy.error_target cannot be used', { err: error });
    return undefined;
  }
}

/** A path in the target comes in front of the request's; it must be as unambiguous as a route's prefix. */
function withBase(target: Target, raw: string | undefined, allowed: AllowedTargets): Target {
  if (raw === undefined || raw === '/') return target;
  if (!isPrefix(withSlash(raw))) throw targetError(allowed);
  return { ...target, base_path: withSlash(raw).slice(0, -1) };
}

function targetError(allowed: AllowedTargets): MetalhubError {
  const { hubSocketPath, serversDirectory, socketDirectories = [], ranges } = allowed;
  const directories = [serversDirectory, ...socketDirectories].join(', ');
  const tcp = ranges === undefined ? 'by TCP nothing (see hubctl proxy enable-tcp)' : 'by TCP proxy.upstream_ranges';
  return new MetalhubError('MH_ERR_PROXY_TARGET', {
    hint: `possible are ${hubSocketPath}, sockets directly in ${directories}, and ${tcp}`,
  });
}

/**
 * Brings a prefix to its canonical form, with a slash at its end.
 * @param raw percent-encoded, as it appears in requests
 * @throws {MH_ERR_PROXY_ROUTE}
 */
export function parsePrefix(raw: string): string {
  const prefix = withSlash(raw);
  if (!isPrefix(prefix)) throw routeError('the prefix is not a canonical path');
  return prefix;
}

function withSlash(path: string): string {
  return path.endsWith('/') ? path : `${path}/`;
}

function isPrefix(path: string): boolean {
  return ROUTE_PREFIX_PATTERN.test(path) && parseRequestTarget(path) !== undefined;
}

/** @throws {MH_ERR_PROXY_TARGET} {MH_ERR_PROXY_ROUTE} */
export function makeRoute(
  at: { readonly prefix: string; readonly host: string | null },
  request: RouteRequest,
  allowed: AllowedTargets = ALLOWED_TARGETS,
): Route {
  const { prefix, host } = at;
  const target = parseTarget(request.target, allowed);
  if (target.base_path !== undefined) throw routeError('a server of ours gets the path that was asked for');
  const isHub = isUnixTarget(target, allowed.hubSocketPath);
  const auth = request.auth ?? 'upstream';
  if (prefix === '/' && host === null && (auth !== 'upstream' || !isHub)) {
    throw routeError('the prefix / belongs to the hub');
  }
  if (auth === 'ticket') {
    if (isHub) throw routeError('the hub checks its visitors itself');
    if (request.user === undefined || request.server === undefined) throw routeError('ticket needs user and server');
  }
  return {
    prefix,
    host,
    target,
    auth,
    user: request.user ?? null,
    server: request.server ?? null,
    invocation_id: request.invocation_id ?? null,
    token: request.token ?? null,
    data: null,
  };
}

/**
 * A route of another hub: everything in the body is its own, and given back to it.
 * @throws {MH_ERR_PROXY_TARGET} {MH_ERR_PROXY_ROUTE}
 */
export function makeForeignRoute(
  at: { readonly prefix: string; readonly host: string | null },
  body: unknown,
  allowed: AllowedTargets,
): Route {
  if (typeof body !== 'object' || body === null || !('target' in body) || typeof body.target !== 'string') {
    throw routeError("Must specify 'target' as string");
  }
  const target = parseTarget(body.target, allowed);
  if (isUnixTarget(target, allowed.hubSocketPath)) throw routeError('the hub of metalhub keeps its own prefix');
  let data: Route['data'];
  try {
    data = routeDataShape(body, 'route');
  } catch (error) {
    throw routeError(errorText(error));
  }
  return { ...at, target, auth: 'upstream', user: null, server: null, invocation_id: null, token: null, data };
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
