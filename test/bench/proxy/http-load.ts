import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where the requests go and what they are. */
export interface Target {
  readonly port: number;
  readonly isTls: boolean;
  /** A whole request, head and body. */
  readonly request: Buffer;
  /** What the answer's body must be. */
  readonly body: Buffer;
}

/** What came of it. */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Milliseconds, sorted. */
  readonly latenciesMs: number[];
}

export function openSocket(port: number, isTls: boolean): Socket {
  const socket = isTls
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] })
    : connectTcp({ port, host: '127.0.0.1' });
  socket.setNoDelay(true);
  return socket;
}

/** Reads one answer after the other; throws for any that is not the one expected. */
class AnswerReader {
  readonly #body: Buffer;
  #held: Buffer | undefined;

  constructor(body: Buffer) {
    this.#body = body;
  }

  /** @returns true when the chunk completes an answer */
  push(chunk: Buffer): boolean {
    const bytes = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    const end = bytes.indexOf('\r\n\r\n', 0, 'latin1');
    if (end < 0 || bytes.length < end + 4 + this.#body.length) {
      this.#held = bytes;
      return false;
    }
    this.#held = undefined;
    const isRight =
      bytes.toString('latin1', 9, 12) === '200' &&
      bytes.length === end + 4 + this.#body.length &&
      this.#body.compare(bytes, end + 4) === 0;
    if (!isRight) throw new Error(`not the answer expected: ${bytes.toString('latin1', 0, 600)}`);
    return true;
  }
}

/** Each connection sends its next request as soon as it has its answer. */
export async function runClosedLoop(
  target: Target,
  connections: number,
  milliseconds: number,
  atLeast = { requests: 0 },
): Promise<LoadResult> {
  const startMs = performance.now();
  const endMs = startMs + milliseconds;
  let requests = 0;
  await Promise.all(
    Array.from(
      { length: connections },
      () =>
        new Promise<void>((resolve, reject) => {
          const socket = openSocket(target.port, target.isTls);
          const reader = new AnswerReader(target.body);
          let isDone = false;
          socket.on(target.isTls ? 'secureConnect' : 'connect', () => socket.write(target.request));
          socket.on('error', reject);
          socket.on('close', () => (isDone ? resolve() : reject(new Error('the connection was closed'))));
          socket.on('data', (chunk: Buffer) => {
            try {
              if (!reader.push(chunk)) return;
            } catch (error) {
              return reject(error as Error);
            }
            requests++;
            if (performance.now() < endMs || requests < atLeast.requests) socket.write(target.request);
            else {
              isDone = true;
              socket.destroy();
            }
          });
        }),
    ),
  );
  return { requests, seconds: (performance.now() - startMs) / 1000, latenciesMs: [] };
}

/** Each request over a connection of its own, which the proxy closes after its answer. */
export async function runNewConnections(target: Target, parallel: number, milliseconds: number): Promise<LoadResult> {
  const startMs = performance.now();
  const endMs = startMs + milliseconds;
  let requests = 0;
  async function one(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const socket = openSocket(target.port, target.isTls);
      const reader = new AnswerReader(target.body);
      let isAnswered = false;
      socket.on(target.isTls ? 'secureConnect' : 'connect', () => socket.write(target.request));
      socket.on('error', reject);
      socket.on('data', (chunk: Buffer) => {
        try {
          isAnswered ||= reader.push(chunk);
        } catch (error) {
          reject(error as Error);
        }
      });
      socket.on('close', () => (isAnswered ? resolve() : reject(new Error('closed without an answer'))));
    });
    requests++;
  }
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (performance.now() < endMs) await one();
    }),
  );
  return { requests, seconds: (performance.now() - startMs) / 1000, latenciesMs: [] };
}

/** So many requests a second, whether the earlier ones are answered or not; latency counts from when one was due. */
export async function runOpenLoop(
  target: Target,
  connections: number,
  perSecond: number,
  milliseconds: number,
): Promise<LoadResult> {
  const latenciesMs: number[] = [];
  const idle: Socket[] = [];
  const due: number[] = [];
  const sentAt = new Map<Socket, number>();
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  function send(socket: Socket, dueMs: number): void {
    sentAt.set(socket, dueMs);
    socket.write(target.request);
  }
  const sockets = await Promise.all(
    Array.from(
      { length: connections },
      () =>
        new Promise<Socket>((resolve, reject) => {
          const socket = openSocket(target.port, target.isTls);
          const reader = new AnswerReader(target.body);
          socket.on('error', (error) => {
            reject(error);
            fail(error);
          });
          socket.on(target.isTls ? 'secureConnect' : 'connect', () => resolve(socket));
          socket.on('data', (chunk: Buffer) => {
            try {
              if (!reader.push(chunk)) return;
            } catch (error) {
              return fail(error as Error);
            }
            latenciesMs.push(performance.now() - (sentAt.get(socket) ?? 0));
            const next = due.shift();
            if (next === undefined) idle.push(socket);
            else send(socket, next);
          });
        }),
    ),
  );
  idle.push(...sockets);
  const startMs = performance.now();
  let scheduled = 0;
  const finished = new Promise<void>((resolve) => {
    const tick = (): void => {
      const nowMs = performance.now();
      const wanted = Math.floor(((Math.min(nowMs, startMs + milliseconds) - startMs) / 1000) * perSecond);
      while (scheduled < wanted) {
        const dueMs = startMs + (++scheduled / perSecond) * 1000;
        const socket = idle.pop();
        if (socket === undefined) due.push(dueMs);
        else send(socket, dueMs);
      }
      if (nowMs >= startMs + milliseconds && latenciesMs.length >= scheduled) return resolve();
      setTimeout(tick, 1);
    };
    tick();
  });
  await Promise.race([finished, failed]);
  for (const socket of sockets) socket.destroy();
  latenciesMs.sort((a, b) => a - b);
  return { requests: latenciesMs.length, seconds: (performance.now() - startMs) / 1000, latenciesMs };
}

/** One transfer after the other over one connection. @returns bytes of content passed */
export async function runTransfers(
  options: { port: number; isTls: boolean; head: string; upload: number; download: number },
  milliseconds: number,
): Promise<{ bytes: number; seconds: number }> {
  const startMs = performance.now();
  let bytes = 0;
  do {
    bytes += await oneTransfer(options);
  } while (performance.now() - startMs < milliseconds);
  return { bytes, seconds: (performance.now() - startMs) / 1000 };
}

const BLOCK = Buffer.alloc(64 * 1024, 'u');

function oneTransfer(options: {
  port: number;
  isTls: boolean;
  head: string;
  upload: number;
  download: number;
}): Promise<number> {
  const wanted = options.upload > 0 ? String(options.upload).length : options.download;
  return new Promise((resolve, reject) => {
    const socket = openSocket(options.port, options.isTls);
    let head: Buffer | undefined = Buffer.alloc(0);
    let received = 0;
    let tail = '';
    let left = options.upload;
    const more = (): void => {
      while (left > 0) {
        const size = Math.min(left, BLOCK.length);
        left -= size;
        if (!socket.write(size === BLOCK.length ? BLOCK : BLOCK.subarray(0, size))) {
          if (left > 0) socket.once('drain', more);
          return;
        }
      }
    };
    socket.on(options.isTls ? 'secureConnect' : 'connect', () => {
      socket.write(options.head);
      more();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${received} bytes`)));
    socket.on('data', (chunk: Buffer) => {
      let content = chunk;
      if (head !== undefined) {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        if (head.toString('latin1', 9, 12) !== '200') return reject(new Error(head.toString('latin1', 0, 600)));
        content = head.subarray(end + 4);
        head = undefined;
      }
      received += content.length;
      if (options.upload > 0) tail += content.toString('latin1');
      if (received < wanted) return;
      const isRight = received === wanted && (options.upload === 0 || tail === String(options.upload));
      if (!isRight) return reject(new Error(`${received} bytes instead of ${wanted}`));
      resolve(options.upload > 0 ? options.upload : received);
      socket.destroy();
    });
  });
}
