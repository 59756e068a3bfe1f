import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import { type ErrorCode, errorText, isErrorCode, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import { PROXY_CONTROL_PATH } from '@metalhub/wire/proxy-api.js';

/** Until the first sign of life. Longer than a restart of the hub takes that waits for a slow login. */
const SILENCE_MS = 25 * SECOND_MS;
/** From the word on that it is at work. Longer than the longest stop, with the one that a start has to wait for. */
const WORK_MS = 25 * MINUTE_MS;

export const ADMIN_SOCKET_PATH = '/run/metalhub/admin.sock';

/** Whom a client talks to, for its errors. */
const HUB = 'hub';
const PROXY = 'hub-proxy';

/** The hub's administration API, or the proxy's, on its own socket; who may connect is the file's permission. */
export class AdminClient {
  readonly #path: string;
  readonly #peer: string;
  readonly #silenceMs: number;

  constructor(path: string = ADMIN_SOCKET_PATH, peer: string = HUB, silenceMs: number = SILENCE_MS) {
    this.#path = path;
    this.#peer = peer;
    this.#silenceMs = silenceMs;
  }

  static forProxy(path: string = PROXY_CONTROL_PATH): AdminClient {
    return new AdminClient(path, PROXY);
  }

  /** @throws {MetalhubError} the hub's own error, or MH_ERR_WIRE_* */
  async get(path: string): Promise<unknown> {
    return parseJson(await readAll(await this.#send('GET', path)), this.#peer);
  }

  /** Answers of one JSON value per line, as they come. */
  async *stream(method: 'GET' | 'POST', path: string, body?: unknown): AsyncGenerator<Record<string, unknown>> {
    const response = await this.#send(method, path, body);
    // It may have nothing to say for hours.
    response.setTimeout(0);
    for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line !== '') yield parseJson(line, this.#peer) as Record<string, unknown>;
    }
  }

  async post(path: string, body: unknown): Promise<unknown> {
    const text = await readAll(await this.#send('POST', path, body));
    return text === '' ? null : parseJson(text, this.#peer);
  }

  async #send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    const response = await this.#open(method, path, body === undefined ? undefined : JSON.stringify(body));
    if ((response.statusCode ?? 500) < 400) return response;
    throw answeredError(await readAll(response), response.statusCode ?? 500, this.#peer);
  }

  #open(method: string, path: string, body: string | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-type': 'application/json' };
      const sent = request(
        { socketPath: this.#path, method, path, headers: { host: this.#peer, ...headers } },
        resolve,
      );
      let limitMs = this.#silenceMs;
      // The socket is systemd's and takes connections although the daemon cannot start.
      sent.setTimeout(limitMs).on('timeout', () => sent.destroy(new SilentPeer(limitMs)));
      sent.on('information', () => {
        limitMs = WORK_MS;
        sent.setTimeout(limitMs);
      });
      sent.on('error', (cause) => reject(connectionError(cause, this.#peer)));
      sent.end(body);
    });
  }
}

/** It was asked and said nothing. */
class SilentPeer extends Error {
  constructor(timeoutMs: number) {
    super(`no answer within ${timeoutMs / SECOND_MS} s`);
  }
}

function connectionError(cause: unknown, peer: string): MetalhubError {
  if (cause instanceof SilentPeer) {
    const hint = `it may not be able to start: journalctl -u ${peer} -n 20`;
    return new MetalhubError('MH_ERR_WIRE_UNREACHABLE', {
      details: { peer, reason: cause.message },
      hint,
      cause,
    });
  }
  const code = systemErrorCode(cause);
  const details = { peer, reason: errorText(cause) };
  const hints: Readonly<Record<string, string>> = {
    EACCES: peer === HUB ? 'run it as root, or as a member of the group metalhub-admin' : 'run it as root',
    ENOENT: 'systemctl start metalhub.target',
    ECONNREFUSED: `systemctl start ${peer === HUB ? 'hub-admin' : 'hub-proxy-control'}.socket`,
  };
  return new MetalhubError('MH_ERR_WIRE_UNREACHABLE', { details, hint: hints[code ?? ''], cause });
}

function answeredError(text: string, status: number, peer: string): MetalhubError {
  const fallback = new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: `${peer} answered ${status}` } });
  try {
    const { code, message, hint } = JSON.parse(text) as Record<string, unknown>;
    if (!isErrorCode(code) || typeof message !== 'string') return fallback;
    return new MetalhubError(code satisfies ErrorCode, { message, hint: typeof hint === 'string' ? hint : undefined });
  } catch {
    return fallback;
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string, peer: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: `${peer} did not answer in JSON` }, cause });
  }
}
