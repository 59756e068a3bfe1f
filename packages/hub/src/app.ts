import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import { MetalhubError } from '@metalhub/base/errors.js';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { addApiRoutes, isApiPath } from './api/api-routes.js';
import type { HubContext } from './context.js';
import { sentence } from './servers/progress.js';
import { addHomeRoutes } from './web/home-routes.js';
import { errorBody, statusOf, titleOf } from './web/http-errors.js';
import { addLoginRoutes } from './web/login-routes.js';
import { renderErrorPage } from './web/pages/error-page.js';
import { addProgressRoutes } from './web/progress-routes.js';
import { SECURITY_HEADERS } from './web/security-headers.js';
import { addStaticRoutes, type StaticFile } from './web/static-files.js';
import { addTicketRoutes } from './web/ticket-routes.js';
import { findVisitor } from './web/visitor.js';
import { withoutBase } from './web/without-base.js';

const MAX_BODY_BYTES = 64 * 1024;
/** A name of 256 characters, each four bytes as %XX. */
const MAX_PARAMETER_LENGTH = 4096;
/** Longer than the slowest login; the progress stream says something more often. */
const IDLE_TIMEOUT_MS = 150_000;

/** The pages and the API that the proxy brings visitors to. */
export async function makeApp(context: HubContext, files: ReadonlyMap<string, StaticFile>): Promise<FastifyInstance> {
  const app = makeFastify(
    (error, request, reply) => showError(context, error, request, reply),
    (url) => withoutBase(url, context.base()),
  );
  await app.register(cookie);
  await app.register(formbody, { bodyLimit: MAX_BODY_BYTES });
  // Bodies of other types are read and dropped: their requests fail for want of a token, not by a way of their own.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null, undefined));
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ ...SECURITY_HEADERS, 'cache-control': 'no-store', 'x-request-id': request.id });
  });
  addApiRoutes(app);
  addStaticRoutes(app, files);
  addLoginRoutes(app, context);
  addHomeRoutes(app, context);
  addProgressRoutes(app, context);
  addTicketRoutes(app, context);
  await app.ready();
  return app;
}

/**
 * What the hub's servers have in common.
 * @param findPath what of a URL routes are compared with
 */
export function makeFastify(
  onError: (error: unknown, request: FastifyRequest, reply: FastifyReply) => unknown,
  findPath: (url: string) => string = (url) => url,
): FastifyInstance<Server> {
  const app = fastify({
    // The listening sockets are systemd's: see listener.ts.
    serverFactory: (handler) => {
      const server = createServer({ keepAlive: false, maxHeaderSize: 32 * 1024 }, handler);
      server.setTimeout(IDLE_TIMEOUT_MS);
      return server;
    },
    bodyLimit: MAX_BODY_BYTES,
    rewriteUrl: ({ url }) => findPath(url ?? '/'),
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    genReqId: () => randomBytes(6).toString('hex'),
    frameworkErrors: (error, request, reply) => {
      onError(error, request, reply);
    },
  });
  app.setErrorHandler<unknown>((error, request, reply) => onError(error, request, reply));
  app.setNotFoundHandler((request, reply) => onError(new MetalhubError('MH_ERR_HUB_NOT_FOUND'), request, reply));
  app.addHook('onRequest', async (_request, reply) => {
    // One request per connection: none can be on its way on a connection that a restart closes.
    reply.header('connection', 'close');
  });
  return app;
}

/** Turns whatever was thrown into an answer: our own errors by the table, anything else without its text. */
export function toMetalhubError(error: unknown): MetalhubError {
  if (error instanceof MetalhubError) return error;
  const { statusCode, code } = error as Partial<FastifyError>;
  const isClients = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500;
  if (!isClients) return new MetalhubError('MH_ERR_INTERNAL', { cause: error });
  return new MetalhubError('MH_ERR_HUB_BAD_REQUEST', { details: { reason: REASONS[code ?? ''] ?? 'not understood' } });
}

const REASONS: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'it is too long',
  FST_ERR_BAD_URL: 'its address is malformed',
};

async function showError(
  context: HubContext,
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const error = toMetalhubError(thrown);
  const status = statusOf(error);
  if (status >= 500) context.log.error('request failed', { requestId: request.id, method: request.method, err: error });
  reply.headers({ ...SECURITY_HEADERS, 'cache-control': 'no-store', connection: 'close' }).code(status);
  if (!wantsPage(request)) return reply.send({ ...errorBody(error), request_id: request.id });
  const hint = error.hint === undefined || error.code === 'MH_ERR_INTERNAL' ? {} : { hint: sentence(error.hint) };
  const { base } = context;
  const page = {
    base: base(),
    status,
    title: titleOf(status),
    message: sentence(error.message),
    ...hint,
    requestId: request.id,
  };
  return reply.type('text/html').send(renderErrorPage({ ...page, ...(await whoAsks(context, request)) }));
}

/** As whom they are logged in is what people look for first on a page that refuses them. */
async function whoAsks(
  context: HubContext,
  request: FastifyRequest,
): Promise<{ user: string; csrfToken: string } | undefined> {
  // The database may be what failed: then the page goes without.
  const visitor = await findVisitor(context, request).catch(() => undefined);
  return visitor && { user: visitor.user.name, csrfToken: visitor.csrfToken };
}

/** A page for people, JSON for programs. */
function wantsPage({ url, headers }: FastifyRequest): boolean {
  if (isApiPath(url) || url.startsWith('/hub/internal/')) return false;
  return headers.accept === undefined || headers.accept.includes('text/html') || headers.accept.includes('*/*');
}
