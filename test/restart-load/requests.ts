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

interface Options {
  readonly isKeptAlive: boolean;
  readonly method: 'GET' | 'POST';
  /** Longest pause before a request, milliseconds; none by default. A random part of it is waited. */
  readonly maxPauseMs?: number;
}

/** One client: one request after the other, each answer compared with what it must be. */
export class RequestClient {
  readonly #target: Target;
  readonly #options: Options;
  readonly #failures: string[] = [];
  readonly #times = new Times();
  #socket: Socket | undefined;
  #count = 0;
  #reconnects = 0;
  #closedIdle = 0;
  #isEnding = false;
  readonly #running: Promise<void>;

  constructor(target: Target, options: Options) {
    this.#target = target;
    this.#options = options;
    this.#running = this.#run();
  }

  async end(): Promise<RequestsReport> {
    this.#isEnding = true;
    await this.#running;
    this.#socket?.destroy();
    const [reconnects, closedIdle, failures] = [this.#reconnects, this.#closedIdle, this.#failures];
    return { answered: this.#count, reconnects, closedIdle, failures, times: this.#times.summary() };
  }

  async #run(): Promise<void> {
    const { maxPauseMs = 0 } = this.#options;
    while (!this.#isEnding) {
      if (maxPauseMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * maxPauseMs));
      if (this.#isEnding) return;
      const begin = performance.now();
      try {
        await this.#ask();
        this.#count += 1;
        this.#times.add(performance.now() - begin);
      } catch (error) {
        this.#failures.push(`${new Date().toISOString()} ${describe(this.#options)}: ${String(error)}`);
        this.#socket?.destroy();
        this.#socket = undefined;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async #ask(): Promise<void> {
    const { isKeptAlive, method } = this.#options;
    if (this.#socket?.readableEnded === true) {
      this.#closedIdle += 1;
      this.#drop();
    }
    this.#socket ??= await openConnection(this.#target);
    const path = `echo?n=${this.#count}`;
    const sent = method === 'POST' ? Buffer.alloc(1 + ((this.#count * 7919) % 20_000), this.#count % 251) : undefined;
    const fields = sent === undefined ? [] : [`Content-Length: ${sent.length}`];
    if (!isKeptAlive) fields.push('Connection: close');
    const head = requestHead(this.#target, method, path, fields);
    this.#socket.write(sent === undefined ? head : Buffer.concat([Buffer.from(head), sent]));
    const answer = await readAnswer(this.#socket);
    const expected = sent ?? Buffer.from(`answer to ${this.#target.prefix}${path}`);
    if (answer.status !== 200) throw new Error(`status ${answer.status}: ${answer.body.toString('latin1', 0, 200)}`);
    if (!answer.body.equals(expected)) throw new Error(`wrong body of ${answer.body.length} bytes`);
    if (answer.isLast || !isKeptAlive) this.#drop();
  }

  #drop(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    if (this.#options.isKeptAlive) this.#reconnects += 1;
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
      const [chunk] = (await once(socket, 'data', { signal: gone.signal }).catch(() => {
        throw gone.signal.reason;
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

function describe({ isKeptAlive, method }: Options): string {
  return `${method} on ${isKeptAlive ? 'a kept' : 'a new'} connection`;
}
