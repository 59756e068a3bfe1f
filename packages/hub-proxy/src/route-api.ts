import { MetalhubError } from '@metalhub/base/errors.js';
import type { Clock } from '@metalhub/base/time.js';
import { type RouteReport, routeRequestShape } from '@metalhub/wire/proxy-api.js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { checked } from './api-body.js';
import { changeState } from './change-state.js';
import { parseHost } from './host.js';
import type { LiveState } from './live-state.js';
import { defaultRoute, foreignKey, type Route, routeKey, routePlace } from './proxy-state.js';
import { type AllowedTargets, makeForeignRoute, makeRoute, parsePrefix } from './route-target.js';
import { type Change, putRoute, removeRoute } from './state-changes.js';
import type { ChangeKind, StateStore } from './state-store.js';
import type { Supervisor } from './supervisor.js';
import { formatTarget } from './target.js';

export const ROUTES = '/api/routes';

export interface RouteRules {
  readonly allowed: AllowedTargets;
  /** The place of our own hub's route: `/`, or below the path of the public address. */
  readonly hubPrefix: string;
  /** `/` is another hub's, and nothing leads to ours. */
  readonly hasForeignHub: boolean;
  /** The first segment behind /api/routes is a host name. */
  readonly hostRouting: boolean;
}

export interface RouteApiParts {
  readonly store: StateStore;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  /** Those in force; a reload changes them. */
  readonly rules: () => RouteRules;
  /** Who speaks here is another hub: it sees, makes and removes its own routes only. */
  readonly isForeign: boolean;
}

interface Query {
  readonly inactive_since?: string;
  readonly inactiveSince?: string;
  readonly host?: string;
  readonly exact?: string;
}
type ApiRequest = FastifyRequest<{ Querystring: Query }>;

/** Where a request for a route points. */
interface At {
  readonly prefix: string;
  readonly host: string | null;
}

/** configurable-http-proxy's route API; see packages/wire proxy-api.ts. */
export function addRouteApi(app: FastifyInstance, parts: RouteApiParts): void {
  const { store, supervisor, clock, isForeign, rules } = parts;
  const startedMs = clock.nowMs();

  function visibleRoutes(): Route[] {
    const { hasForeignHub, allowed, hubPrefix } = rules();
    const ours = hasForeignHub || isForeign ? [] : [defaultRoute(allowed.hubSocketPath, hubPrefix)];
    const stored = [...store.live.routes()];
    const theirs = stored.filter(({ data }) => data !== null);
    // Where both hubs have a route, the last one is seen.
    return isForeign ? theirs : [...ours, ...theirs, ...stored.filter(({ data }) => data === null)];
  }

  function findRoute(at: At): Route | undefined {
    const { hasForeignHub, allowed, hubPrefix } = rules();
    const ours = isForeign ? undefined : store.live.findRoute(routePlace(at));
    if (!isForeign && !hasForeignHub && routePlace(at) === hubPrefix)
      return defaultRoute(allowed.hubSocketPath, hubPrefix);
    return ours ?? store.live.findRoute(foreignKey(at));
  }

  function lastActivity(route: Route): string {
    return new Date(supervisor.findActivity(routeKey(route)) ?? startedMs).toISOString();
  }

  /** Never the token. */
  function report(route: Route): RouteReport {
    const { auth, user, server, invocation_id } = route;
    const owner = route.data === null ? 'hub' : 'other';
    const target = formatTarget(route.target);
    return { target, auth, user, server, invocation_id, owner, last_activity: lastActivity(route) };
  }

  function foreignReport(route: Route): Record<string, unknown> {
    if (route.data === null) return { ...report(route) };
    return { ...route.data, ...(route.host !== null && { host: route.host }), last_activity: lastActivity(route) };
  }

  function change(
    request: ApiRequest,
    make: (state: LiveState) => Change | undefined,
    kind?: ChangeKind,
  ): Promise<boolean> {
    let isUpToDate = false;
    return changeState(
      parts,
      (state) => {
        // Once: where it cannot be stored the version has moved on when it is asked for again.
        if (!isUpToDate) checkVersion(request, state);
        isUpToDate = true;
        return make(state);
      },
      kind,
    );
  }

  async function listRoutes(request: ApiRequest, reply: FastifyReply): Promise<void> {
    const since = sinceOf(request.query);
    await supervisor.reports();
    const isExact = request.query.exact !== undefined;
    const entries = visibleRoutes()
      .map((route) =>
        isExact ? ([routePlace(route), report(route)] as const) : ([chpPath(route), foreignReport(route)] as const),
      )
      .filter(([, { last_activity }]) => since === undefined || isBefore(last_activity, since));
    reply.header('ETag', `"${store.live.version}"`).send(Object.fromEntries(entries));
  }

  async function getRoute(request: ApiRequest, reply: FastifyReply): Promise<void> {
    if (isListing(request)) return listRoutes(request, reply);
    const at = placeOf(request, rules().hostRouting);
    await supervisor.reports();
    const route = findRoute(at);
    if (route === undefined) return void reply.code(404).send();
    reply.send(request.query.exact === undefined ? foreignReport(route) : report(route));
  }

  async function addRoute(request: ApiRequest, reply: FastifyReply): Promise<void> {
    const { hostRouting, hasForeignHub, hubPrefix, allowed } = rules();
    const at = placeOf(request, hostRouting);
    const route = makeAnyRoute(at, request.body, isForeign, allowed);
    const isHubs = routePlace(at) === hubPrefix;
    // It is there already, and always.
    if (isHubs && route.data === null) return void reply.code(201).send();
    if (isHubs && !hasForeignHub) throw taken();
    await change(request, (state) => {
      const isTaken = route.data !== null && !hasForeignHub && state.findRoute(routePlace(at)) !== undefined;
      if (isTaken) throw taken();
      return putRoute(state, route);
    });
    supervisor.noteActivity(routeKey(route), clock.nowMs());
    reply.code(201).send();
  }

  async function deleteRoute(request: ApiRequest, reply: FastifyReply): Promise<void> {
    const { hostRouting, hasForeignHub, hubPrefix } = rules();
    const at = placeOf(request, hostRouting);
    if (routePlace(at) === hubPrefix && !hasForeignHub) throw taken();
    const route = findRoute(at);
    const key = route === undefined ? foreignKey(at) : routeKey(route);
    const isChanged = await change(request, (state) => removeRoute(state, key), 'take away');
    if (!isChanged) return void reply.code(404).send();
    supervisor.forgetActivity(key);
    reply.code(204).send();
  }

  for (const path of [ROUTES, `${ROUTES}/*`]) {
    app.get(path, getRoute);
    app.post(path, addRoute);
    app.delete(path, deleteRoute);
    for (const method of ['PUT', 'PATCH', 'HEAD', 'OPTIONS'] as const) {
      if (app.hasRoute({ method, url: path })) continue;
      app.route({ method, url: path, handler: async (_request, reply) => void reply.code(405).send() });
    }
  }
}

/** With `auth` it is our own hub's, with fields that are checked; without it the fields are somebody else's. */
function makeAnyRoute(at: At, body: unknown, isForeign: boolean, allowed: AllowedTargets): Route {
  const isOurs = !isForeign && typeof body === 'object' && body !== null && 'auth' in body;
  return isOurs ? makeRoute(at, checked(routeRequestShape, body), allowed) : makeForeignRoute(at, body, allowed);
}

/** The bytes behind `/api/routes`, as sent: a prefix is compared with requests byte by byte, so nothing is decoded. */
function rawPath(request: ApiRequest): string {
  const path = (request.raw.url ?? '').split('?', 1)[0] ?? '';
  return path.slice(ROUTES.length);
}

/** `/api/routes` and `/api/routes/` are all routes, unless `/` itself is to be changed. */
function isListing(request: ApiRequest): boolean {
  return rawPath(request) === '' || rawPath(request) === '/';
}

/** @throws {MH_ERR_PROXY_ROUTE} */
function placeOf(request: ApiRequest, hostRouting: boolean): At {
  const raw = rawPath(request) || '/';
  if (request.query.host !== undefined) return { host: routeHost(request.query.host), prefix: parsePrefix(raw) };
  if (!hostRouting || raw === '/') return { host: null, prefix: parsePrefix(raw) };
  const [host = '', ...rest] = raw.slice(1).split('/');
  return { host: routeHost(decodeText(host)), prefix: parsePrefix(`/${rest.join('/')}`) };
}

function routeHost(text: string): string {
  const host = parseHost(text);
  if (host === undefined || host.port !== undefined) throw routeError('not a host name');
  return host.name;
}

/** As configurable-http-proxy names it: decoded, without a slash at its end, the host in front. */
function chpPath({ host, prefix }: At): string {
  const path = `${host === null ? '' : `/${host}`}${prefix.slice(0, -1)}`;
  return path === '' ? '/' : decodeText(path);
}

function decodeText(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function sinceOf({ inactiveSince, inactive_since }: Query): number | undefined {
  const text = inactiveSince ?? inactive_since ?? '';
  if (text === '') return undefined;
  const since = Date.parse(text);
  if (Number.isNaN(since)) {
    throw new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: 'inactive_since is not a time' } });
  }
  return since;
}

function isBefore(lastActivity: unknown, since: number): boolean {
  return typeof lastActivity === 'string' && Date.parse(lastActivity) < since;
}

/** @throws {MH_ERR_PROXY_STALE} the caller looked at an older state (`If-Match` with the `ETag` of a list) */
export function checkVersion(request: FastifyRequest, state: LiveState): void {
  const wanted = request.headers['if-match'];
  if (wanted !== undefined && wanted !== `"${state.version}"`) throw new MetalhubError('MH_ERR_PROXY_STALE');
}

function taken(): MetalhubError {
  return routeError('the prefix belongs to the hub of metalhub (see proxy.default_route)');
}

function routeError(reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_PROXY_ROUTE', { details: { reason } });
}
