import { type IncomingMessage, request } from 'node:http';
import { errorText, isErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import { nullable, object, oneOf, text } from '@metalhub/base/shape.js';
import {
  PROXY_CONTROL_PATH,
  type RevocationRequest,
  type RouteReport,
  type RouteRequest,
} from '@metalhub/wire/proxy-api.js';
import type { PublicTicketKey } from '../tickets/ticket-keys.js';

const TIMEOUT_MS = 5000;
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

const routeReportShape = object({
  target: text({ max: 4096 }),
  auth: oneOf('ticket', 'upstream'),
  user: nullable(text({ max: 512 })),
  server: nullable(text({ max: 64 })),
  invocation_id: nullable(text({ max: 32 })),
  last_activity: text({ max: 64 }),
}) satisfies (value: unknown, path: string) => RouteReport;

/** The proxy's control API; who may use it is the socket file's permission. */
export class ProxyClient {
  readonly #socketPath: string;

  constructor(options: { socketPath?: string } = {}) {
    this.#socketPath = options.socketPath ?? PROXY_CONTROL_PATH;
  }

  /** @throws {MH_ERR_PROXY_UNREACHABLE} or the proxy's own error, as all requests of this class */
  async getRoutes(): Promise<Map<string, RouteReport>> {
    const answer = await this.#send('GET', '/api/routes');
    if (typeof answer !== 'object' || answer === null) throw unreachable('it answered without routes');
    return new Map(Object.entries(answer).map(([prefix, report]) => [prefix, routeReportShape(report, prefix)]));
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
    return this.#send('GET', '/api/status');
  }

  async getPid(): Promise<number> {
    const { pid } = (await this.getStatus()) as { pid?: unknown };
    if (typeof pid !== 'number') throw unreachable('it answered without a status');
    return pid;
  }

  async #send(method: string, path: string, body?: unknown): Promise<unknown> {
    const { status, text: answer } = await this.#exchange(method, path, body === undefined ? '' : JSON.stringify(body));
    if (status === 404 && method === 'DELETE') return undefined;
    if (status < 200 || status > 299) throw refusedBy(answer) ?? unreachable(`${method} was answered with ${status}`);
    if (answer === '') return undefined;
    try {
      return JSON.parse(answer);
    } catch (cause) {
      throw unreachable('it did not answer in JSON', cause);
    }
  }

  #exchange(method: string, path: string, body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = {
        host: 'proxy',
        'content-length': Buffer.byteLength(body),
        ...(body !== '' && { 'content-type': 'application/json' }),
      };
      // A connection each: one kept open could be closed by a restarting proxy just as it is used.
      const options = { socketPath: this.#socketPath, agent: false, method, path, headers };
      const sent = request(options, (response) => {
        readText(response).then((answer) => resolve({ status: response.statusCode ?? 0, text: answer }), fail);
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
