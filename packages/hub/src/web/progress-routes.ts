import { MetalhubError } from '@metalhub/base/errors.js';
import { parseServerName } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { HubContext } from '../context.js';
import { findUserByName } from '../db/tables/users.js';
import type { UserServer } from '../servers/user-server.js';
import { escapeHtml } from './escape-html.js';
import type { ProgressEvent } from './pages/views.js';
import { findVisitor } from './visitor.js';

const KEEP_ALIVE_MS = 8 * SECOND_MS;

interface ServerParams {
  Params: { user: string; server?: string };
}

/** Server-sent events of a start, in JupyterHub's form. */
export function addProgressRoutes(app: FastifyInstance, context: HubContext): void {
  app.get<ServerParams>('/hub/api/users/:user/server/progress', (request, reply) => answer(context, request, reply));
  app.get<ServerParams>('/hub/api/users/:user/servers/:server/progress', (request, reply) =>
    answer(context, request, reply),
  );
}

async function answer(
  context: HubContext,
  request: FastifyRequest<ServerParams>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { user: userName, server: serverName = '' } = request.params;
  const visitor = await findVisitor(context, request);
  const isAllowed = visitor !== undefined && (visitor.user.name === userName || visitor.user.isAdmin);
  if (!isAllowed) throw new MetalhubError('MH_ERR_HUB_FORBIDDEN');
  const user = await findUserByName(context.database, userName);
  if (user === undefined) throw new MetalhubError('MH_ERR_HUB_NO_SUCH_USER', { details: { user: userName } });
  const server = context.servers.get(user, parseServerName(serverName));
  if (server.state.phase === 'stopped' || server.state.phase === 'stop') {
    throw new MetalhubError('MH_ERR_HUB_BAD_REQUEST', { details: { reason: `${user.name} is not starting` } });
  }
  stream(context, server, reply, visitor.user.name);
  return reply;
}

function stream(context: HubContext, server: UserServer, reply: FastifyReply, owner: string): void {
  const response = reply.raw;
  context.streams.add(response, owner);
  reply.hijack();
  response.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
  });
  const send = (event: ProgressEvent): void => {
    response.write(`data: ${JSON.stringify(withHtml(event))}\n\n`);
    if (isLast(event)) response.end();
  };
  // A late subscriber gets all of it from the beginning; nothing can happen in between on one thread.
  const end = server.follow(send);
  for (const event of server.progress) send(event);
  const timer = setInterval(() => response.write('\n\n'), KEEP_ALIVE_MS);
  response.once('close', () => {
    clearInterval(timer);
    end();
  });
}

export function isLast(event: ProgressEvent): boolean {
  return event.ready === true || event.failed === true;
}

/** What JupyterHub's own pages and clients of its stream expect of the last event. */
function withHtml(event: ProgressEvent): ProgressEvent & { html_message?: string } {
  if (event.ready !== true || event.url === undefined) return event;
  const url = escapeHtml(event.url);
  return { ...event, html_message: `Server ready at <a href="${url}">${url}</a>` };
}
