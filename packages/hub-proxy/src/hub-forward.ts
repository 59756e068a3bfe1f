import { EventEmitter } from 'node:events';
import { type Duplex, duplexPair, type Readable } from 'node:stream';
import httpProxy from '@fastify/http-proxy';
import { systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { ErrorPages } from './error-pages.js';
import { ForwardAgent } from './forward-agent.js';
import { type Answer, hubAway, serverAway } from './pages.js';
import type { Settings } from './settings.js';
import { formatTarget } from './target.js';
import type { UpstreamError } from './worker-metrics.js';

/** Carries the route's socket from the strict front to {@link HubForward}, inside this process; clients cannot send it. */
export const TARGET_FIELD = 'X-Metalhub-Target';
/** Says whether the visitor looks at a page; decided by the strict front. */
export const NAVIGATION_FIELD = 'X-Metalhub-Navigation';

// Who says nothing is given up by the strict front, which knows what it waits for (see StallLimits). 0 would mean ten seconds.
const NO_TIMEOUT_MS = 2 ** 31 - 1;
const METHODS = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT', 'OPTIONS'];

export interface ForwardEvents {
  failed: ['hub' | 'service', UpstreamError];
}

/**
 * Forwards requests of `upstream` routes (the hub's pages, services) with @fastify/http-proxy.
 *
 * It never sees a client's connection: each request comes in over a pair of streams from the strict front, one pair per
 * request, and goes out over one connection of its own. None is kept, so a restart of the hub cannot meet a request
 * on a connection that is just being closed.
 */
export class HubForward {
  readonly #app: FastifyInstance;
  /** `failed` when an upstream gave no answer, and this proxy's own goes out instead. */
  readonly failures: EventEmitter<ForwardEvents>;

  private constructor(app: FastifyInstance, failures: EventEmitter<ForwardEvents>) {
    this.#app = app;
    this.failures = failures;
  }

  static async create(
    { hub_socket_path: hubSocketPath, base_path: base = '' }: Pick<Settings, 'hub_socket_path' | 'base_path'>,
    log: Log,
    errors: ErrorPages,
  ): Promise<HubForward> {
    const failures = new EventEmitter<ForwardEvents>();
    const failed = new WeakSet<FastifyReply>();
    const agent = new ForwardAgent();
    const app = Fastify({
      logger: false,
      requestTimeout: 0,
      connectionTimeout: 0,
      keepAliveTimeout: 0,
      bodyLimit: Number.MAX_SAFE_INTEGER,
      // The path is passed on as received, whatever it is: refusing is the strict front's business.
      routerOptions: { maxParamLength: 16 * 1024 },
      http: { maxHeaderSize: 64 * 1024, headersTimeout: 0 },
    });
    await app.register(httpProxy, {
      upstream: formatSocket(hubSocketPath),
      prefix: '/',
      httpMethods: METHODS,
      undici: false,
      http: { requestOptions: { agent, timeout: NO_TIMEOUT_MS } },
      disableRequestLogging: true,
      // With the prefix `/` it would turn `/hub/` into `//hub/`, another host.
      internalRewriteLocationHeader: false,
      disableCache: true,
      // Only GET and HEAD, only when the connection was lost before any answer.
      retryMethods: ['GET', 'HEAD'],
      replyOptions: {
        retriesCount: 1,
        getUpstream: (request: FastifyRequest) => formatSocket(targetOf(request, hubSocketPath)),
        rewriteRequestHeaders: (request: FastifyRequest, headers: Record<string, unknown>) => {
          const fields = rewrite(request, headers);
          agent.bind(fields, request.raw.socket);
          return fields;
        },
        rewriteHeaders: (headers: Record<string, unknown>) => withoutHopByHop(headers),
        onResponse: (_request: FastifyRequest, reply: FastifyReply, response: { stream: Readable }) => {
          // Called also after an answer that had no valid status.
          if (failed.has(reply)) return void response.stream.destroy();
          reply.send(response.stream);
          // At once: an event stream may have nothing to say for long, and its reader waits for the head.
          reply.raw.flushHeaders();
        },
        onError: (reply: FastifyReply, { error }: { error: Error }) => {
          // Nobody waits for it any more.
          if (reply.raw.socket?.destroyed !== false) return;
          log.debug('no whole answer from upstream', { err: error });
          // Of one request there may be several errors.
          if (failed.has(reply)) return;
          failed.add(reply);
          // In the middle of an answer the visitor can only be cut off; the strict front counts that.
          if (reply.raw.headersSent) return void reply.raw.destroy();
          const isOfHub = targetOf(reply.request, hubSocketPath) === hubSocketPath;
          failures.emit('failed', isOfHub ? 'hub' : 'service', failureOf(error));
          const isNavigation = reply.request.headers[NAVIGATION_FIELD.toLowerCase()] === '1';
          const builtIn = isOfHub ? hubAway(isNavigation) : serverAway(isNavigation, base);
          if (!isNavigation) return sendAnswer(reply, builtIn);
          // It never rejects.
          void Promise.resolve(errors.find(builtIn, reply.request.url)).then((answer) => sendAnswer(reply, answer));
        },
      },
    } as never);
    await app.ready();
    return new HubForward(app, failures);
  }

  /** A connection to it. */
  open(): Duplex {
    const [front, back] = duplexPair();
    front.on('error', () => front.destroy());
    // The ends of a pair do not hear of each other's destruction by themselves.
    front.once('close', () => back.destroy());
    back.once('close', () => {
      if (!back.writableFinished) front.destroy();
    });
    this.#app.server.emit('connection', back);
    return front;
  }

  close(): Promise<void> {
    return this.#app.close();
  }
}

function formatSocket(path: string): string {
  return formatTarget({ kind: 'unix', path });
}

function failureOf(error: Error): UpstreamError {
  const code = systemErrorCode(error.cause) ?? '';
  return ['ENOENT', 'ECONNREFUSED', 'EAGAIN', 'EACCES'].includes(code) ? 'unreachable' : 'invalid';
}

function targetOf(request: FastifyRequest, fallback: string): string {
  const target = request.headers[TARGET_FIELD.toLowerCase()];
  return typeof target === 'string' ? target : fallback;
}

/** Host is the visitor's, not the socket's name. A body of GET or HEAD is not forwarded, so neither is its length. */
function rewrite(request: FastifyRequest, headers: Record<string, unknown>): Record<string, unknown> {
  const rewritten: Record<string, unknown> = { ...headers, host: request.headers.host };
  delete rewritten[TARGET_FIELD.toLowerCase()];
  delete rewritten[NAVIGATION_FIELD.toLowerCase()];
  // The library would make another object without it.
  delete rewritten['connection'];
  if (request.method === 'GET' || request.method === 'HEAD') {
    delete rewritten['content-length'];
    delete rewritten['transfer-encoding'];
  }
  return rewritten;
}

/** Trailers are not passed on, and their announcement alone is refused by Node, by throwing. */
function withoutHopByHop(headers: Record<string, unknown>): Record<string, unknown> {
  const {
    connection: _connection,
    'keep-alive': _keepAlive,
    'transfer-encoding': _coding,
    trailer: _,
    ...rest
  } = headers;
  return rest;
}

function sendAnswer(reply: FastifyReply, answer: Answer): void {
  // What a bad answer said of itself.
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
  reply.code(answer.status);
  for (const [name, value] of answer.fields) reply.header(name, value);
  reply.send(answer.body);
}
