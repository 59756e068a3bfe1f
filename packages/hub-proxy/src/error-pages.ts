import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Log } from '@metalhub/base/log.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Answer } from './pages.js';
import type { Routing } from './settings.js';
import { formatTarget, type Target } from './target.js';
import { connectStream, type UpstreamOptions } from './upstream.js';

const ASK_TIMEOUT_MS = 3 * SECOND_MS;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** Pages of the administrator's, or of another hub, instead of the built-in ones. Programs get JSON in any case. */
export class ErrorPages {
  readonly #html: ReadonlyMap<number, string>;
  readonly #target: Target | undefined;
  readonly #upstream: UpstreamOptions;
  readonly #log: Log;

  constructor(pages: Routing['error_pages'], target: Target | undefined, upstream: UpstreamOptions, log: Log) {
    this.#html = new Map(pages.map(({ status, html }) => [status, html]));
    this.#target = target;
    this.#upstream = upstream;
    this.#log = log;
  }

  /**
   * What a person gets instead of the built-in answer.
   * @param url path and query that were asked for
   */
  find(builtIn: Answer, url: string): Answer | Promise<Answer> {
    const own = this.#ownPage(builtIn);
    if (this.#target === undefined) return own;
    return this.#ask(this.#target, builtIn, url).catch((error: unknown) => {
      this.#log.info('proxy.error_target gave no page', { err: error });
      return own;
    });
  }

  #ownPage(builtIn: Answer): Answer {
    const html = this.#html.get(builtIn.status) ?? this.#html.get(0);
    if (html === undefined) return builtIn;
    const replaced = new Set(['content-type', 'content-security-policy']);
    const fields = builtIn.fields.filter(([name]) => !replaced.has(name.toLowerCase()));
    return { status: builtIn.status, fields: [['Content-Type', 'text/html; charset=utf-8'], ...fields], body: html };
  }

  async #ask(target: Target, { status, fields }: Answer, url: string): Promise<Answer> {
    const deadline = AbortSignal.timeout(ASK_TIMEOUT_MS);
    const connection = await connectStream(target, () => deadline.aborted, this.#upstream, ASK_TIMEOUT_MS);
    try {
      const path = `${target.base_path ?? ''}/${status}?url=${encodeURIComponent(url)}`;
      const found = await get(connection, path, new URL(formatTarget(target)).host, deadline);
      const kept = fields.filter(([name]) => /^(?:retry-after|cache-control|x-content-type-options)$/i.test(name));
      return { status, fields: [['Content-Type', found.contentType], ...kept], body: found.body };
    } finally {
      connection.destroy();
    }
  }
}

function get(
  connection: Duplex,
  path: string,
  host: string,
  signal: AbortSignal,
): Promise<{ contentType: string; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { host, connection: 'close', accept: 'text/html' };
    const sent = request({ createConnection: () => connection, path, headers, signal }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', reject);
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        size += chunk.length;
        if (size > MAX_ANSWER_BYTES) response.destroy(new Error('the page is too large'));
      });
      response.on('end', () => {
        if (response.headers['content-encoding'] !== undefined) return reject(new Error('the page is compressed'));
        const contentType = response.headers['content-type'] ?? 'text/html; charset=utf-8';
        resolve({ contentType, body: Buffer.concat(chunks).toString('utf8') });
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}
