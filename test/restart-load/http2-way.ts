import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { Method, Way } from './requests.js';
import type { Target } from './target.js';

const { NGHTTP2_REFUSED_STREAM } = constants;

/**
 * HTTP/2 on one connection as long as it lasts. Like a browser it asks again on another when it is told that a request
 * was not taken (RFC 9113, section 8.7).
 */
export class Http2Way implements Way {
  readonly name = 'an HTTP/2 connection';
  readonly closedIdle = 0;
  readonly #target: Target;
  #session: ClientHttp2Session | undefined;
  reconnects = 0;

  constructor(target: Target) {
    this.#target = target;
  }

  async ask(method: Method, path: string, body: Buffer | undefined): Promise<{ status: number; body: Buffer }> {
    for (;;) {
      const session = await this.#open();
      const stream = session.request(
        {
          ':method': method,
          ':path': path,
          ':authority': this.#target.host,
          cookie: this.#target.cookie,
          origin: this.#target.origin,
        },
        { endStream: body === undefined },
      );
      if (body !== undefined) stream.end(body);
      const answer = await readAnswer(stream);
      if (answer !== 'not taken') return answer;
      this.drop();
    }
  }

  drop(): void {
    this.#session?.destroy();
    this.#session = undefined;
  }

  async #open(): Promise<ClientHttp2Session> {
    if (this.#session !== undefined && !this.#session.closed && !this.#session.destroyed) return this.#session;
    if (this.#session !== undefined) this.reconnects += 1;
    const { host, port, ca } = this.#target;
    const servername = host.replace(/:\d+$/, '');
    const session = connect(`https://${host}`, { host: '127.0.0.1', port, ca, servername });
    session.on('error', () => undefined); // its streams tell
    this.#session = session;
    await once(session, 'connect');
    return session;
  }
}

async function readAnswer(stream: ClientHttp2Stream): Promise<{ status: number; body: Buffer } | 'not taken'> {
  let status = 0;
  const chunks: Buffer[] = [];
  stream.on('response', (headers) => {
    status = Number(headers[':status']);
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  let failure: unknown;
  stream.on('error', (error) => {
    failure = error;
  });
  await new Promise((resolve) => stream.once('close', resolve));
  if (status === 0 && stream.rstCode === NGHTTP2_REFUSED_STREAM) return 'not taken';
  if (failure !== undefined) throw failure;
  if (status === 0) throw new Error(`ended with code ${stream.rstCode} and without an answer`);
  return { status, body: Buffer.concat(chunks) };
}
