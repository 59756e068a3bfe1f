import { isErrorCode } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { makeFastify, toMetalhubError } from '../app.js';
import type { HubContext } from '../context.js';
import { errorBody, statusOf } from '../web/http-errors.js';
import { withoutBaseIfAny } from '../web/without-base.js';
import { addApiRoutes } from './api-routes.js';

/**
 * Every account of the machine can connect: a connection is there for one short request, however slowly it is sent. A limit
 * of our own, because Node enforces its own only on servers that listen, and this one is handed its connections.
 */
const CONNECTION_MS = 10 * SECOND_MS;
/** Far fewer than the descriptors that the hub has for everybody. */
export const MAX_API_CONNECTIONS = 256;

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

/**
 * What hub-api.socket gives to programs of the machine: the API and no pages. The caller is whatever process connected,
 * not the proxy: no cookie and no header of the proxy's counts.
 */
export async function makeApiApp(
  context: Pick<HubContext, 'log' | 'base'>,
  connectionMs: number = CONNECTION_MS,
): Promise<FastifyInstance> {
  const app = makeFastify(
    (error, request, reply) => showError(context, error, request, reply),
    // With the base, as JupyterHub has it, and without.
    (url) => withoutBaseIfAny(url, context.base()) ?? url,
  );
  app.server.on('connection', (socket) => {
    const end = setTimeout(() => socket.destroy(), connectionMs);
    socket.once('close', () => clearTimeout(end));
  });
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ ...HEADERS, 'x-request-id': request.id });
  });
  addApiRoutes(app);
  await app.ready();
  return app;
}

function showError(
  { log }: Pick<HubContext, 'log'>,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const error = toMetalhubError(thrown);
  const status = isErrorCode(error.code) ? statusOf(error) : 500;
  if (status >= 500) log.error('request to the API failed', { requestId: request.id, err: error });
  return reply
    .headers({ ...HEADERS, connection: 'close' })
    .code(status)
    .send({ ...errorBody(error), request_id: request.id });
}
