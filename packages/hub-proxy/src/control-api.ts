import { connect } from 'node:net';
import { type ErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { list, object, type Shape, ShapeError } from '@metalhub/base/shape.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import {
  type GenerationReport,
  type ProxyStatus,
  type RevocationRequest,
  type RouteReport,
  revocationListRequestShape,
  revocationRequestShape,
  routeRequestShape,
} from '@metalhub/wire/proxy-api.js';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { WorkerReport } from './generation-protocol.js';
import { registerMetrics } from './metrics-api.js';
import {
  defaultRoute,
  MAX_KEYS,
  MAX_ROUTES,
  type ProxyState,
  publicKeyShape,
  type Route,
  withKeys,
  withoutRoute,
  withRevocations,
  withRoute,
} from './proxy-state.js';
import { type AllowedTargets, makeRoute, parsePrefix } from './route-target.js';
import type { StateStore } from './state-store.js';
import type { Supervisor } from './supervisor.js';
import { formatTarget } from './target.js';

const ROUTES = '/api/routes';
const BODY_LIMIT_BYTES = 64 * 1024;
/** 20 000 entries, with room for white space. */
const REVOCATIONS_BODY_LIMIT_BYTES = 4 * 1024 * 1024;
const HUB_TIMEOUT_MS = SECOND_MS;
const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  MH_ERR_PROXY_TARGET: 400,
  MH_ERR_PROXY_ROUTE: 400,
  MH_ERR_PROXY_STATE: 503,
  MH_ERR_WIRE_MALFORMED: 400,
};

export interface ControlParts {
  readonly store: StateStore;
  readonly supervisor: Supervisor;
  readonly allowed: AllowedTargets;
  readonly log: Log;
  readonly clock: Clock;
  readonly version: string;
}

const keysShape = object({ keys: list(publicKeyShape, MAX_KEYS) });

/** The route API on the control socket; see packages/wire proxy-api.ts. Who may connect is the socket's permission. */
export function createControlApi(parts: ControlParts): FastifyInstance {
  const { store, supervisor, clock } = parts;
  const startedMs = clock.monotonicMs();
  const app = Fastify({ logger: false, bodyLimit: BODY_LIMIT_BYTES, routerOptions: { maxParamLength: 8192 } });

  // A kept connection could be closed by our restart just as a request is written to it.
  app.addHook('onSend', async (_request, reply) => void reply.header('Connection', 'close'));
  registerMetrics(app, parts);
  app.setErrorHandler((error, _request, reply) => answerError(error, reply, parts.log));

  app.get<{ Querystring: { inactive_since?: string; inactiveSince?: string } }>(ROUTES, async (request) => {
    const since = Date.parse(request.query.inactive_since ?? request.query.inactiveSince ?? '');
    await supervisor.reports();
    const routes = [defaultRoute(parts.allowed.hubSocketPath), ...store.state.routes];
    const reports = routes.map((route) => [route.prefix, report(route)] as const);
    return Object.fromEntries(
      reports.filter(([, { last_activity }]) => Number.isNaN(since) || Date.parse(last_activity) < since),
    );
  });

  /** Resolves when all generations have the change; without one nothing is written or sent. */
  async function change(
    make: (state: ProxyState) => ProxyState,
    kind: 'allow' | 'take away' = 'allow',
  ): Promise<{ isChanged: boolean }> {
    let isChanged = false;
    try {
      await store.update((state) => {
        const next = make(state);
        isChanged = next !== state;
        return next;
      }, kind);
    } catch (error) {
      if (kind === 'take away') await supervisor.pushState();
      throw error;
    }
    // Who made the same change a moment ago may still be sending it.
    await (isChanged ? supervisor.pushState() : supervisor.pushed());
    return { isChanged };
  }

  async function addRoute(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const route = makeRoute(prefixOf(request), checked(routeRequestShape, request.body), parts.allowed);
    if (route.prefix !== '/') {
      await change((state) => {
        if (state.routes.length >= MAX_ROUTES)
          throw new MetalhubError('MH_ERR_PROXY_ROUTE', { details: { reason: 'too many routes' } });
        return withRoute(state, route);
      });
    }
    reply.code(201).send();
  }

  async function removeRoute(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const prefix = parsePrefix(prefixOf(request));
    if (prefix === '/')
      throw new MetalhubError('MH_ERR_PROXY_ROUTE', { details: { reason: 'the prefix / belongs to the hub' } });
    const { isChanged } = await change((state) => withoutRoute(state, prefix) ?? state, 'take away');
    if (!isChanged) return void reply.code(404).send({ status: 404, message: 'no such route' });
    supervisor.forgetActivity(prefix);
    reply.code(204).send();
  }

  for (const path of [ROUTES, `${ROUTES}/*`]) {
    app.post(path, addRoute);
    app.delete(path, removeRoute);
  }

  app.put('/api/keys', async (request, reply) => {
    const { keys } = checked(keysShape, request.body);
    await change((state) => withKeys(state, keys));
    reply.code(204).send();
  });

  app.post('/api/revocations', { bodyLimit: REVOCATIONS_BODY_LIMIT_BYTES }, async (request, reply) => {
    const revocations = revocationsOf(request.body);
    supervisor.ledger.count('revoked', revocations.length);
    await change((state) => withRevocations(state, revocations, Math.floor(clock.nowMs() / SECOND_MS)), 'take away');
    reply.code(204).send();
  });

  app.get('/api/status', async (): Promise<ProxyStatus> => {
    const [reports, hubReachable] = await Promise.all([supervisor.reports(), isListening(parts.allowed.hubSocketPath)]);
    const generations = reports.map(describeWorker);
    return {
      version: parts.version,
      pid: process.pid,
      routes: store.state.routes.length + 1,
      uptime_sec: Math.floor((clock.monotonicMs() - startedMs) / SECOND_MS),
      generations,
      hub_reachable: hubReachable,
    };
  });

  /** Never the token. Before the first request the route's own start would be a guess, so it is the supervisor's. */
  function report(route: Route): RouteReport {
    const lastMs = supervisor.findActivity(route.prefix) ?? clock.nowMs() - (clock.monotonicMs() - startedMs);
    return {
      target: formatTarget(route.target),
      auth: route.auth,
      user: route.user,
      server: route.server,
      invocation_id: route.invocation_id,
      last_activity: new Date(lastMs).toISOString(),
    };
  }

  return app;
}

function describeWorker(report: WorkerReport): GenerationReport {
  const { activity: _activity, counters: _counters, started_ms, draining_since_ms, deadline_ms, ...rest } = report;
  const iso = (ms: number): string => new Date(ms).toISOString();
  return {
    ...rest,
    started: iso(started_ms),
    ...(draining_since_ms !== undefined && { draining_since: iso(draining_since_ms) }),
    ...(deadline_ms !== undefined && { deadline: iso(deadline_ms) }),
  };
}

/** The bytes behind `/api/routes`, as sent: a prefix is compared with requests byte by byte, so nothing is decoded. */
function prefixOf(request: FastifyRequest): string {
  const path = (request.raw.url ?? '').split('?', 1)[0] ?? '';
  return path.slice(ROUTES.length) || '/';
}

function revocationsOf(body: unknown): readonly RevocationRequest[] {
  const isList = typeof body === 'object' && body !== null && 'revocations' in body;
  return isList ? checked(revocationListRequestShape, body).revocations : [checked(revocationRequestShape, body)];
}

function checked<T>(shape: Shape<T>, body: unknown): T {
  try {
    return shape(body, '');
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: error.message }, cause: error });
  }
}

function answerError(error: unknown, reply: FastifyReply, log: Log): void {
  if (error instanceof MetalhubError) {
    const status = STATUS_OF[error.code] ?? 500;
    log[status === 503 ? 'error' : 'info']('control request refused', { err: error });
    reply.code(status).send({ status, code: error.code, message: error.message, hint: error.hint ?? null });
    return;
  }
  const status =
    error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
  if (status >= 500) log.error('control request failed', { err: error });
  reply.code(status).send({ status, message: status >= 500 ? 'internal error' : 'bad request' });
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const finish = (reachable: boolean) => (): void => {
      socket.destroy();
      resolve(reachable);
    };
    socket.setTimeout(HUB_TIMEOUT_MS, finish(false));
    socket.once('connect', finish(true));
    socket.once('error', finish(false));
  });
}
