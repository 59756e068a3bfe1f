import { MetalhubError } from '@metalhub/base/errors.js';
import type { ServerName } from '@metalhub/base/names.js';
import { object, optional, text } from '@metalhub/base/shape.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import { HUB_TICKET_PATH, HUB_TICKET_RENEW_PATH, TICKET_PATH } from '@metalhub/wire/ticket.js';
import type { FastifyInstance } from 'fastify';
import type { HubContext } from '../context.js';
import type { User } from '../db/tables/users.js';
import { findServerAddress, serverPath } from '../names/server-url.js';
import type { UserServer } from '../servers/user-server.js';
import { pendingPath } from './home-routes.js';
import { findNextPath, nextQuery } from './next-url.js';
import { findVisitor, readShape, requireVisitor } from './visitor.js';

const ticketQuery = object({
  path: text({ min: 1, max: 4096 }),
  state: text({ pattern: /^[0-9a-f]{64}$/, max: 64 }),
  next: optional(text({ max: 8192 })),
});
const RETRY_PAUSE_MS = 5 * SECOND_MS;
const MAX_RETRIES = 10_000;
const renewBody = object({ ticket: text({ min: 1, max: 4096 }) });

export function addTicketRoutes(app: FastifyInstance, context: HubContext): void {
  const retries = new Retries(context.clock);
  /** The proxy sends browsers without a ticket here; see wire/ticket.ts. */
  app.get(HUB_TICKET_PATH, async (request, reply) => {
    const { path, state, next: wanted } = readShape(ticketQuery, { ...(request.query as object) });
    const next = path.endsWith('/') ? findNextPath(wanted, path.slice(0, -1)) : undefined;
    // After the login the browser goes to the server again, and the proxy asks with a fresh state.
    const back = findNextPath(next ?? path, context.base()) ?? `${context.base()}/hub/home`;
    const visitor = await requireVisitor(context, request, reply, back);
    if (visitor === undefined) return reply;
    const server = findOwnServer(context, visitor.user, path);
    // The same for a server of somebody else and for none: names of users are nobody's business.
    if (server === undefined) {
      throw new MetalhubError('MH_ERR_HUB_FORBIDDEN', {
        message: 'this is not a server of yours',
        hint: 'log in as its owner to open it',
      });
    }
    if (server.state.phase === 'spawn') return reply.redirect(pendingPath(context, server, next), 303);
    if (server.state.phase !== 'ready') return reply.redirect(spawnPath(context, server, next), 303);
    const subject = { user: visitor.user.name, server: server.name, path: server.path, session: visitor.session };
    const code = await context.tickets.makeCode(subject, state, next);
    return reply.redirect(`${server.path}${TICKET_PATH}?code=${code}`, 303);
  });

  /** By the proxy itself, which takes the header out of what clients send. */
  app.post(HUB_TICKET_RENEW_PATH, async (request, reply) => {
    if (request.headers['x-metalhub-proxy'] !== '1') return reply.callNotFound();
    const claims = await context.tickets.readTicket(readShape(renewBody, request.body).ticket);
    const isAlive = claims !== undefined && claims.exp * SECOND_MS > context.clock.nowMs();
    const login = isAlive ? await context.sessions.findById(claims.session_id) : undefined;
    const server = login && claims && findOwnServer(context, login.user, claims.path);
    if (
      login === undefined ||
      server === undefined ||
      login.user.name !== claims?.user ||
      server.name !== claims.server
    ) {
      throw new MetalhubError('MH_ERR_HUB_FORBIDDEN', { message: 'the login of this ticket has ended' });
    }
    const subject = { user: login.user.name, server: server.name, path: server.path, session: login.session };
    return reply.send({ ticket: await context.tickets.makeTicket(subject) });
  });

  /** Servers are below /user/, where the hub's cookie does not go: a request without a route is asked to come here. */
  app.get('/user/*', async (request, reply) => {
    const path = findNextPath(request.url, '');
    return path === undefined ? reply.callNotFound() : reply.redirect(`${context.base()}/hub${path}`, 302);
  });

  app.route({
    method: ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    url: '/user/*',
    handler: async (_request, reply) => reply.code(424).send({ message: 'server is not running' }),
  });

  app.get('/hub/user/*', async (request, reply) => {
    const wanted = findNextPath(request.url.slice('/hub'.length), '/user');
    if (wanted === undefined) return reply.callNotFound();
    const next = `${context.base()}${wanted}`;
    const isForProgram = !wantsHtml(request.headers.accept) || /\/api(?:\/|$|\?)/.test(next);
    const visitor = isForProgram
      ? await findVisitor(context, request)
      : await requireVisitor(context, request, reply, next);
    if (visitor === undefined) return isForProgram ? forbid() : reply;
    const server = findServerOf(context, visitor.user, wanted);
    if (server === undefined) {
      throw new MetalhubError('MH_ERR_HUB_FORBIDDEN', { message: 'this is not a server of yours' });
    }
    const { phase } = server.state;
    if (server.isFrozen) {
      throw new MetalhubError('MH_ERR_HUB_SERVER_FROZEN', {
        hint: 'nothing in it is lost; it goes on where it stood when the administrator lets it',
      });
    }
    if (phase === 'ready' && !next.startsWith(server.path)) return reply.redirect(server.path, 303);
    if (phase === 'ready' && !server.isProvisional) {
      // The proxy should have known the way. When it had lost it, it knows it after this.
      await context.routes.reconcile();
      if (retries.mayRetry(server.path)) return reply.redirect(next, 303);
      throw new MetalhubError('MH_ERR_PROXY_UNREACHABLE', {
        message: 'your server runs, but it cannot be reached yet',
        hint: 'load the page again in a moment',
      });
    }
    if (isForProgram) return reply.code(424).send({ message: `JupyterHub server no longer running at ${next}` });
    return reply.redirect(
      phase === 'spawn' ? pendingPath(context, server, next) : spawnPath(context, server, next),
      303,
    );
  });
}

/** Sends a visitor back to a server's address, but not in a circle. */
class Retries {
  readonly #clock: Clock;
  readonly #lastMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  mayRetry(path: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const lastMs = this.#lastMs.get(path);
    if (lastMs !== undefined && nowMs - lastMs < RETRY_PAUSE_MS) return false;
    if (this.#lastMs.size >= MAX_RETRIES) this.#lastMs.clear();
    this.#lastMs.set(path, nowMs);
    return true;
  }
}

function spawnPath(context: HubContext, server: UserServer, next: string | undefined): string {
  const query = nextQuery(next ?? server.path);
  return `${context.base()}/hub/spawn${query}${server.name === '' ? '' : `&server=${server.name}`}`;
}

/** The server whose path this is, byte for byte, when it belongs to the user; it may be one of a former `public_url`. */
function findOwnServer(context: HubContext, user: User, path: string): UserServer | undefined {
  return context.servers.listOf(user).find((server) => server.path === path);
}

/**
 * The server that a path below `/user/` leads to, when it belongs to the user.
 * @param path without the base of `public_url`
 */
function findServerOf(context: HubContext, user: User, path: string): UserServer | undefined {
  const address = findServerAddress(path);
  if (address?.name !== user.name) return undefined;
  const named = path.startsWith(serverPath(user.name, address.maybeServer));
  const server = named ? context.servers.find(user, address.maybeServer) : undefined;
  return server ?? context.servers.find(user, '' as ServerName);
}

function wantsHtml(accept: string | undefined): boolean {
  return accept === undefined || accept.includes('text/html') || accept.includes('*/*');
}

function forbid(): never {
  throw new MetalhubError('MH_ERR_HUB_FORBIDDEN');
}
