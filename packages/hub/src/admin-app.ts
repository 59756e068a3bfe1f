import { isErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import { parseServerName } from '@metalhub/base/names.js';
import { integer, object, optional, record, type Shape, text } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { isNobodyAllowed } from '@metalhub/config/login-rules.js';
import { PROFILE_NAME_PATTERN } from '@metalhub/wire/spawner.js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { addAdminServerRoutes } from './admin-server-routes.js';
import { makeFastify, toMetalhubError } from './app.js';
import type { HubContext } from './context.js';
import { findUserByName, listUsers, type User } from './db/tables/users.js';
import { redactLine } from './servers/redact.js';
import { serverReport, userReport } from './web/admin-reports.js';
import { errorBody, statusOf } from './web/http-errors.js';
import { openLineStream, roomIn } from './web/line-stream.js';
import type { ProgressEvent } from './web/pages/views.js';
import { isLast } from './web/progress-routes.js';
import { readShape } from './web/visitor.js';

const serverBody = object({
  user: text({ min: 1, max: 256 }),
  server: optional(text({ max: 31 })),
  profile: optional(text({ max: 63 })),
  choices: optional(record(PROFILE_NAME_PATTERN, text({ max: 63 }), 10)),
});
const digits: Shape<number> = (value, path) =>
  integer(0, 10_000)(typeof value === 'string' && /^[0-9]{1,5}$/.test(value) ? Number(value) : value, path);
const logsQuery = object({
  user: text({ min: 1, max: 256 }),
  server: optional(text({ max: 31 })),
  lines: optional(digits),
  follow: optional(text({ max: 5 })),
});
const DEFAULT_LINES = 100;
const LOGS_TIMEOUT_MS = 60 * SECOND_MS;
/** Streams of administrators: a script may start everybody's server at once; hub-logs has other readers, too. */
const STARTS = 'starts of administrators';
const MAX_STARTS = 512;
const READERS = 'logs of administrators';
const MAX_READERS = 16;

/** For hubctl. Who may use it is the permission of the socket file: root and the group metalhub-admin. */
export async function makeAdminApp(context: HubContext): Promise<FastifyInstance> {
  const app = makeFastify((error, request, reply) => showError(context, error, request, reply));
  app.get('/admin/status', () => statusReport(context));
  app.get('/admin/users', async () => {
    const users = await listUsers(context.database);
    return { users: users.map((user) => userReport(user, context.servers.find(user))) };
  });
  app.get('/admin/servers', () => ({
    servers: context.servers.list().map((server) => serverReport(server, context)),
  }));
  app.get('/admin/routes', async () => Object.fromEntries(await context.proxy.getRoutes()));
  app.post('/admin/servers/start', (request, reply) => startServer(context, request, reply));
  app.post('/admin/servers/stop', async (request, reply) => {
    const { user, server } = readShape(serverBody, request.body);
    sayAtWork(reply);
    const found = context.servers.get(await getUser(context, user), parseServerName(server ?? ''));
    await found.stop();
    context.log.notice('server stopped by an administrator', { user, server: found.name });
    return serverReport(found, context);
  });
  addAdminServerRoutes(app, context, (name) => getUser(context, name));
  app.get('/admin/logs', (request, reply) => showLogs(context, request, reply));
  await app.ready();
  return app;
}

async function statusReport(context: HubContext): Promise<object> {
  const phases = context.servers.list().map(({ state }) => state.phase);
  const count = (...wanted: string[]): number => phases.filter((phase) => wanted.includes(phase)).length;
  const nowMs = context.clock.nowMs();
  const proxy = await context.proxy.getStatus().then(
    // It may answer and yet refuse what it is told, with a full disk for instance.
    (status) => ({
      reachable: true,
      status,
      ...(context.routes.failure !== undefined && { error: context.routes.failure }),
    }),
    (error: unknown) => ({ reachable: false, error: toMetalhubError(error).message }),
  );
  return {
    version: context.version,
    pid: process.pid,
    started_at: new Date(context.startedMs).toISOString(),
    uptime_sec: Math.max(0, Math.floor((nowMs - context.startedMs) / SECOND_MS)),
    users: (await listUsers(context.database)).length,
    servers: { ready: count('ready'), pending: count('spawn', 'stop'), failed: count('failed') },
    logins_allowed: !isNobodyAllowed(context.config()),
    proxy,
    spawner: { reachable: context.servers.isSpawnerReachable },
  };
}

/** Streams one JSON value per line: the steps of the start, the last with `ready` or `failed`. */
async function startServer(context: HubContext, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { user, server: name, profile, choices } = readShape(serverBody, request.body);
  context.streams.requireRoom(STARTS, MAX_STARTS);
  // While it stops, a start waits until it has.
  sayAtWork(reply);
  const server = await context.servers.start(await getUser(context, user), parseServerName(name ?? ''), {
    profile,
    choices,
  });
  context.log.notice('server start requested by an administrator', { user, server: server.name });
  const write = openLines(context, reply, STARTS, MAX_STARTS);
  const send = (event: ProgressEvent): void => {
    const { state } = server;
    const failure = state.phase === 'failed' ? { code: state.failure.code, hint: state.failure.hint } : {};
    write({ ...event, ...(event.failed === true && failure) });
    if (isLast(event)) reply.raw.end();
  };
  const end = server.follow(send);
  reply.raw.once('close', end);
  for (const event of server.progress) send(event);
  // Stopped before anybody could look: there is nothing to follow.
  if (server.progress.length === 0) send({ progress: 100, failed: true, message: 'The start was cancelled' });
  return reply;
}

async function showLogs(context: HubContext, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const query = readShape(logsQuery, { ...(request.query as object) });
  const { key } = await getUser(context, query.user);
  const follow = ['1', 'true', 'yes'].includes(query.follow ?? '');
  const write = openLines(context, reply, READERS, MAX_READERS);
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  try {
    await context.logs.read(
      {
        key,
        server: parseServerName(query.server ?? ''),
        invocationId: null,
        lines: query.lines ?? DEFAULT_LINES,
        follow,
      },
      (line) => {
        write({ ...line, message: redactLine(line.message, []) });
        return roomIn(reply.raw);
      },
      { signal: gone.signal, ...(!follow && { timeoutMs: LOGS_TIMEOUT_MS }) },
    );
  } catch (error) {
    if (!gone.signal.aborted) write(errorBody(toMetalhubError(error)));
  }
  reply.raw.end();
  return reply;
}

/** A stop may take minutes: by this hubctl knows that somebody is there. */
function sayAtWork(reply: FastifyReply): void {
  // Whoever listens decides; without a listener the server ends what is idle.
  reply.raw.on('timeout', () => undefined);
  reply.raw.writeProcessing();
}

function openLines(context: HubContext, reply: FastifyReply, owner: string, most: number): (value: unknown) => void {
  context.streams.add(reply.raw, owner, most);
  reply.hijack();
  return openLineStream(reply.raw);
}

/** @throws {MH_ERR_HUB_NO_SUCH_USER} */
async function getUser(context: HubContext, name: string): Promise<User> {
  const user = await findUserByName(context.database, name);
  if (user !== undefined) return user;
  throw new MetalhubError('MH_ERR_HUB_NO_SUCH_USER', {
    details: { user: name },
    hint: 'users appear here when they log in for the first time',
  });
}

function showError(context: HubContext, thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = toMetalhubError(thrown);
  const status = statusOf(error);
  if (status >= 500) context.log.error('request of an administrator failed', { requestId: request.id, err: error });
  return reply.code(isErrorCode(error.code) ? status : 500).send(errorBody(error));
}
