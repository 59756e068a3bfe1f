import { connect } from 'node:net';
import { type ErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { list, object, text } from '@metalhub/base/shape.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import {
  type GenerationReport,
  type ProxyStatus,
  type RevocationRequest,
  revocationListRequestShape,
  revocationRequestShape,
  routeRequestShape,
} from '@metalhub/wire/proxy-api.js';
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import { checked } from './api-body.js';
import { isRightToken } from './api-token.js';
import { changeState } from './change-state.js';
import type { PlacedReport } from './generation-protocol.js';
import type { LiveState } from './live-state.js';
import { registerMetrics } from './metrics-api.js';
import { MAX_KEYS, MAX_ROUTES, publicKeyShape } from './proxy-state.js';
import { addRouteApi, checkVersion, ROUTES, type RouteRules } from './route-api.js';
import { makeRoute, parsePrefix } from './route-target.js';
import { SparseLog } from './sparse-log.js';
import { addRevocations, type Change, changeRoutes, setKeys } from './state-changes.js';
import type { ChangeKind, StateStore } from './state-store.js';
import type { Supervisor } from './supervisor.js';

const BODY_LIMIT_BYTES = 64 * 1024;
/** 20 000 entries, with room for white space. */
const REVOCATIONS_BODY_LIMIT_BYTES = 4 * 1024 * 1024;
/** All routes there can be, at once. */
const CHANGES_BODY_LIMIT_BYTES = 16 * 1024 * 1024;
const MAX_TCP_CONNECTIONS = 256;
const REQUEST_TIMEOUT_MS = 30 * SECOND_MS;
const HUB_TIMEOUT_MS = SECOND_MS;
const STATUS_OF: Partial<Record<ErrorCode, number>> = {
  MH_ERR_PROXY_TARGET: 400,
  MH_ERR_PROXY_ROUTE: 400,
  MH_ERR_PROXY_STATE: 503,
  MH_ERR_WIRE_MALFORMED: 400,
  MH_ERR_PROXY_STALE: 412,
};

export interface ControlParts {
  readonly store: StateStore;
  readonly supervisor: Supervisor;
  readonly rules: () => RouteRules;
  readonly log: Log;
  readonly clock: Clock;
  readonly version: string;
}

const keysShape = object({ keys: list(publicKeyShape, MAX_KEYS) });
const changesShape = object({
  put: list(object({ prefix: text({ max: 4096 }), route: routeRequestShape }), MAX_ROUTES),
  remove: list(text({ max: 4096 }), MAX_ROUTES),
});

/** The route API for another hub, on TCP. Whoever has the token may speak. */
export function createForeignApi(parts: ControlParts, token: string): FastifyInstance {
  const app = createApp(parts);
  app.server.maxConnections = MAX_TCP_CONNECTIONS;
  // Before a byte of the body is read.
  app.addHook('onRequest', async (request, reply) => {
    if (isRightToken(request.headers.authorization, token)) return;
    parts.log.warning('a request on the route API came without the right token', { peer: request.ip });
    return reply.code(403).send();
  });
  addRouteApi(app, { ...parts, isForeign: true });
  return app;
}

/** The route API on the control socket; see packages/wire proxy-api.ts. Who may connect is the socket's permission. */
export function createControlApi(parts: ControlParts): FastifyInstance {
  const { store, supervisor, clock, rules } = parts;
  const startedMs = clock.monotonicMs();
  const app = createApp(parts);

  /**
   * Resolves when all generations have the change; without one nothing is written or sent. What takes something away they
   * get even when it cannot be written.
   */
  async function change(make: (state: LiveState) => Change | undefined, kind?: ChangeKind): Promise<void> {
    await changeState(parts, make, kind);
  }

  app.patch(ROUTES, { bodyLimit: CHANGES_BODY_LIMIT_BYTES }, async (request, reply) => {
    const { put, remove } = checked(changesShape, request.body);
    const routes = put.map(({ prefix, route }) =>
      makeRoute({ prefix: parsePrefix(prefix), host: null }, route, rules().allowed),
    );
    const keys = remove.map(parsePrefix);
    await change((state) => {
      checkVersion(request, state);
      return changeRoutes(state, routes, keys);
    });
    for (const key of keys) if (!store.hasRoute(key)) supervisor.forgetActivity(key);
    reply.code(204).header('ETag', `"${store.live.version}"`).send();
  });
  addRouteApi(app, { ...parts, isForeign: false });

  app.put('/api/keys', async (request, reply) => {
    const { keys } = checked(keysShape, request.body);
    await change((state) => setKeys(state, keys));
    reply.code(204).send();
  });

  app.post('/api/revocations', { bodyLimit: REVOCATIONS_BODY_LIMIT_BYTES }, async (request, reply) => {
    const revocations = revocationsOf(request.body);
    supervisor.ledger.count('revoked', revocations.length);
    const nowSec = Math.floor(clock.nowMs() / SECOND_MS);
    await change((state) => addRevocations(state, revocations, nowSec), 'take away');
    reply.code(204).send();
  });

  app.get('/api/status', async (): Promise<ProxyStatus> => {
    const [reports, hubReachable] = await Promise.all([
      supervisor.reports(),
      isListening(rules().allowed.hubSocketPath),
    ]);
    const generations = reports.map(describeWorker);
    return {
      version: parts.version,
      pid: process.pid,
      routes: store.live.routeCount + 1,
      uptime_sec: Math.floor((clock.monotonicMs() - startedMs) / SECOND_MS),
      generations,
      hub_reachable: hubReachable,
    };
  });

  return app;
}

function describeWorker(report: PlacedReport): GenerationReport {
  const { activity: _activity, counters: _counters, state_version: _version, index: _index, ...shown } = report;
  const { started_ms, draining_since_ms, deadline_ms, ...rest } = shown;
  const iso = (ms: number): string => new Date(ms).toISOString();
  return {
    ...rest,
    started: iso(started_ms),
    ...(draining_since_ms !== undefined && { draining_since: iso(draining_since_ms) }),
    ...(deadline_ms !== undefined && { deadline: iso(deadline_ms) }),
  };
}

function createApp(parts: ControlParts): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    routerOptions: { maxParamLength: 8192, ignoreDuplicateSlashes: false },
    exposeHeadRoutes: false,
  });
  // Clients of configurable-http-proxy name whatever type their HTTP library does.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, body === '' ? undefined : JSON.parse(String(body)));
    } catch (cause) {
      done(new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: 'not JSON' }, cause }));
    }
  });
  // A kept connection could be closed by our restart just as a request is written to it.
  app.addHook('onSend', async (_request, reply) => void reply.header('Connection', 'close'));
  registerMetrics(app, parts);
  const failures = new SparseLog(parts.log, parts.clock);
  app.setErrorHandler((error, _request, reply) => answerError(error, reply, parts.log, failures));
  app.setNotFoundHandler(async (_request, reply) => void reply.code(404).send());
  return app;
}

function revocationsOf(body: unknown): readonly RevocationRequest[] {
  const isList = typeof body === 'object' && body !== null && 'revocations' in body;
  return isList ? checked(revocationListRequestShape, body).revocations : [checked(revocationRequestShape, body)];
}

function answerError(error: unknown, reply: FastifyReply, log: Log, failures: SparseLog): void {
  if (error instanceof MetalhubError) {
    const status = STATUS_OF[error.code] ?? 500;
    // A hub tries again and again while the disk is full.
    if (status === 503) failures.error('control request refused', { err: error });
    else log.info('control request refused', { err: error });
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
