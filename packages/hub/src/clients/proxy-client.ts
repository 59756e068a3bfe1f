import { type IncomingMessage, request } from 'node:http';
import { errorText, isErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import { nullable, object, oneOf, optional, text } from '@metalhub/base/shape.js';
import {
  PROXY_CONTROL_PATH,
  type RevocationRequest,
  type RouteReport,
  type RouteRequest,
} from '@metalhub/wire/proxy-api.js';
import type { PublicTicketKey } from '../tickets/ticket-keys.js';

const TIMEOUT_MS = 5000;
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** An older proxy names no owner: all routes are ours. */
const routeReportShape = object({
  target: text({ max: 4096 }),
  auth: oneOf('ticket', 'upstream'),
  user: nullable(text({ max: 512 })),
  server: nullable(text({ max: 64 })),
  invocation_id: nullable(text({ max: 32 })),
  owner: optional(oneOf('hub', 'other')),
  last_activity: text({ max: 64 }),
});

/** The routes, and what names this state of theirs in {@link ProxyClient.changeRoutes}. */
export interface RouteListing {
  readonly routes: Map<string, RouteReport>;
  readonly etag: string | undefined;
}

/** The proxy's control API; who may use it is the socket file's permission. */
export class ProxyClient {
  readonly #socketPath: string;

  constructor(options: { socketPath?: string } = {}) {
    this.#socketPath = options.socketPath ?? PROXY_CONTROL_PATH;
  }

  /** @throws {MH_ERR_PROXY_UNREACHABLE} or the proxy's own error, as all requests of this class */
  async getRoutes(): Promise<Map<string, RouteReport>> {
    return (await this.listRoutes()).routes;
  }

  async listRoutes(): Promise<RouteListing> {
    const { answer, etag } = await this.#send('GET', '/api/routes?exact=1');
    if (typeof answer !== 'object' || answer === null) throw unreachable('it answered without routes');
    const routes = Object.entries(answer).map(([prefix, value]) => {
      const { owner = 'hub', ...report } = routeReportShape(value, prefix);
      return [prefix, { ...report, owner }] as const;
    });
    return { routes: new Map(routes), etag };
  }

  /**
   * Many at once, which the proxy stores in one go.
   * @param etag of the listing that this was made from
   * @throws {MH_ERR_PROXY_STALE} they have changed since
   */
  async changeRoutes(
    put: readonly { prefix: string; route: RouteRequest }[],
    remove: readonly string[],
    etag: string | undefined,
  ): Promise<void> {
    await this.#send('PATCH', '/api/routes', { put, remove }, etag);
  }

  async putRoute(prefix: string, route: RouteRequest): Promise<void> {
    await this.#send('POST', `/api/routes${prefix}`, route);
  }

  async deleteRoute(prefix: string): Promise<void> {
    await this.#send('DELETE', `/api/routes${prefix}`);
  }

  async putKeys(keys: readonly PublicTicketKey[]): Promise<void> {
    await this.#send('PUT', '/api/keys', { keys });
  }

  /** @param revocations at most 20 000 */
  async revoke(revocations: readonly RevocationRequest[]): Promise<void> {
    await this.#send('POST', '/api/revocations', { revocations });
  }

  /** As the proxy gives it: for people to look at. */
  getStatus(): Promise<unknown> {
    return this.#send('GET', '/api/status').then(({ answer }) => answer);
  }

  async getPid(): Promise<number> {
    const { pid } = (await this.getStatus()) as { pid?: unknown };
    if (typeof pid !== 'number') throw unreachable('it answered without a status');
    return pid;
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    ifMatch?: string,
  ): Promise<{ answer: unknown; etag?: string | undefined }> {
    const sent = body === undefined ? '' : JSON.stringify(body);
    const { status, etag, text: answer } = await this.#exchange(method, path, sent, ifMatch);
    if (status === 404 && method === 'DELETE') return { answer: undefined };
    if (status < 200 || status > 299) throw refusedBy(answer) ?? unreachable(`${method} was answered with ${status}`);
    if (answer === '') return { answer: undefined, etag };
    try {
      return { answer: JSON.parse(answer), etag };
    } catch (cause) {
      throw unreachable('it did not answer in JSON', cause);
    }
  }

  #exchange(method: string, path: string, body: string, ifMatch: string | undefined): Promise<Exchanged> {
    return new Promise((resolve, reject) => {
      const headers = {
        host: 'proxy',
        'content-length': Buffer.byteLength(body),
        ...(body !== '' && { 'content-type': 'application/json' }),
        ...(ifMatch !== undefined && { 'if-match': ifMatch }),
      };
      // A connection each: one kept open could be closed by a restarting proxy just as it is used.
      const options = { socketPath: this.#socketPath, agent: false, method, path, headers };
      const sent = request(options, (response) => {
        const { statusCode: status = 0, headers: answered } = response;
        readText(response).then((answer) => resolve({ status, etag: answered.etag, text: answer }), fail);
      });
      const fail = (cause: unknown): void => {
        sent.destroy();
        reject(cause instanceof MetalhubError ? cause : unreachable(errorText(cause), cause));
      };
      sent.setTimeout(TIMEOUT_MS, () => fail(new Error(`no answer within ${TIMEOUT_MS} ms`)));
      sent.on('error', fail);
      sent.end(body);
    });
  }
}

interface Exchanged {
  readonly status: number;
  readonly etag: string | undefined;
  readonly text: string;
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MAX_ANSWER_BYTES) throw unreachable('its answer is too long');
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The proxy's own error, when it gave one. */
function refusedBy(answer: string): MetalhubError | undefined {
  try {
    const { code, message, hint } = JSON.parse(answer) as Record<string, unknown>;
    if (!isErrorCode(code) || typeof message !== 'string') return undefined;
    return new MetalhubError(code, { message, hint: typeof hint === 'string' ? hint : undefined });
  } catch {
    return undefined;
  }
}

function unreachable(reason: string, cause?: unknown): MetalhubError {
  const hint = 'systemctl status hub-proxy.service hub-proxy-control.socket';
  return new MetalhubError('MH_ERR_PROXY_UNREACHABLE', { details: { reason }, hint, cause });
}
