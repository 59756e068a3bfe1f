import { once } from 'node:events';
import type { Socket } from 'node:net';
import { openConnection, parseAnswerHead, requestHead, type Target } from './target.js';
import { Times, type TimesSummary } from './times.js';

export interface RequestsReport {
  readonly answered: number;
  /** Connections that the proxy closed after it had said so, or while nothing was under way. */
  readonly reconnects: number;
  readonly closedIdle: number;
  readonly failures: readonly string[];
  readonly times: TimesSummary;
}

/** How the requests of a client travel. */
export interface Way {
  /** For messages. */
  readonly name: string;
  readonly reconnects: number;
  readonly closedIdle: number;
  /** @throws when there is no right answer */
  ask(method: Method, path: string, body: Buffer | undefined): Promise<{ status: number; body: Buffer }>;
  /** Ends what is open. */
  drop(): void;
}

export type Method = 'GET' | 'POST';

export interface RequestClientOptions {
  readonly prefix: string;
  readonly method: Method;
  /** Longest pause before a request, milliseconds; none by default. A random part of it is waited. */
  readonly maxPauseMs?: number;
}

/** One client: one request after the other, each answer compared with what it must be. */
export class RequestClient {
  readonly #way: Way;
  readonly #options: RequestClientOptions;
  readonly #failures: string[] = [];
  readonly #times = new Times();
  #count = 0;
  #isEnding = false;
  readonly #running: Promise<void>;

  constructor(way: Way, options: RequestClientOptions) {
    this.#way = way;
    this.#options = options;
    this.#running = this.#run();
  }

  async end(): Promise<RequestsReport> {
    this.#isEnding = true;
    await this.#running;
    this.#way.drop();
    const { reconnects, closedIdle } = this.#way;
    return { answered: this.#count, reconnects, closedIdle, failures: this.#failures, times: this.#times.summary() };
  }

  async #run(): Promise<void> {
    const { maxPauseMs = 0, method } = this.#options;
    while (!this.#isEnding) {
      if (maxPauseMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * maxPauseMs));
      if (this.#isEnding) return;
      const begin = performance.now();
      try {
        await this.#ask();
        this.#count += 1;
        this.#times.add(performance.now() - begin);
      } catch (error) {
        this.#failures.push(`${new Date().toISOString()} ${method} on ${this.#way.name}: ${String(error)}`);
        this.#way.drop();
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async #ask(): Promise<void> {
    const { method, prefix } = this.#options;
    const path = `${prefix}echo?n=${this.#count}`;
    const sent = method === 'POST' ? Buffer.alloc(1 + ((this.#count * 7919) % 20_000), this.#count % 251) : undefined;
    const answer = await this.#way.ask(method, path, sent);
    if (answer.status !== 200) throw new Error(`status ${answer.status}: ${answer.body.toString('latin1', 0, 200)}`);
    if (!answer.body.equals(sent ?? Buffer.from(`answer to ${path}`))) {
      throw new Error(`wrong body of ${answer.body.length} bytes`);
    }
  }
}

/** HTTP/1.1, on one connection as long as it lasts or on a new one each time. */
export class Http1Way implements Way {
  readonly name: string;
  readonly #target: Target;
  readonly #isKeptAlive: boolean;
  #socket: Socket | undefined;
  reconnects = 0;
  closedIdle = 0;

  constructor(target: Target, isKeptAlive: boolean) {
    this.name = isKeptAlive ? 'a kept connection' : 'a new connection';
    this.#target = target;
    this.#isKeptAlive = isKeptAlive;
  }

  async ask(method: Method, path: string, body: Buffer | undefined): Promise<{ status: number; body: Buffer }> {
    if (this.#socket?.readableEnded === true) {
      this.closedIdle += 1;
      this.#next();
    }
    this.#socket ??= await openConnection(this.#target);
    const fields = body === undefined ? [] : [`Content-Length: ${body.length}`];
    if (!this.#isKeptAlive) fields.push('Connection: close');
    const head = requestHead(this.#target, method, path.slice(this.#target.prefix.length), fields);
    this.#socket.write(body === undefined ? head : Buffer.concat([Buffer.from(head), body]));
    const answer = await readAnswer(this.#socket);
    if (answer.isLast || !this.#isKeptAlive) this.#next();
    return answer;
  }

  drop(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #next(): void {
    this.drop();
    if (this.#isKeptAlive) this.reconnects += 1;
  }
}

async function readAnswer(socket: Socket): Promise<{ status: number; isLast: boolean; body: Buffer }> {
  let received = Buffer.alloc(0);
  const gone = new AbortController();
  const onClose = (): void =>
    gone.abort(new Error(`the connection ended after ${received.length} bytes of the answer`));
  socket.once('end', onClose).once('close', onClose);
  if (socket.destroyed || socket.readableEnded) onClose();
  try {
    for (;;) {
      const [chunk] = (await once(socket, 'data', { signal: gone.signal }).catch((error: unknown) => {
        // A reset comes before the close.
        throw gone.signal.reason ?? error;
      })) as [Buffer];
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) continue;
      const { status, length, isLast } = parseAnswerHead(received.toString('latin1', 0, end));
      if (received.length < end + 4 + length) continue;
      if (received.length > end + 4 + length) throw new Error('bytes behind the answer');
      return { status, isLast, body: received.subarray(end + 4) };
    }
  } finally {
    socket.off('end', onClose).off('close', onClose);
  }
}
