import type { Socket } from 'node:net';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { ShapeError } from '@metalhub/base/shape.js';
import { toErrorFrame } from './error-frame.js';
import { encodeFrame, FrameDecoder, HEADER_BYTES } from './frame.js';
import type { EventOf, ParamsOf, Protocol, ProtocolTable } from './protocol.js';
import { envelope, type Handlers, logFailure, type RequestContext, type ServeOptions } from './server.js';

export interface OnceContext<E> extends RequestContext<E> {
  /** Resolves when the caller has taken what was emitted so far, or is gone: what a handler with much to say waits for. */
  drained(): Promise<void>;
}

/** {@link Handlers} whose context also knows back-pressure. */
export type OnceHandlers<T extends ProtocolTable> = {
  [M in keyof T]: (
    params: Parameters<Handlers<T>[M]>[0],
    context: OnceContext<EventOf<T, M>>,
  ) => ReturnType<Handlers<T>[M]>;
};

export type OnceOptions = Pick<ServeOptions, 'log' | 'describePeer'> & {
  /** Milliseconds from the start until the whole request must be there, however busily its bytes arrive. */
  requestTimeoutMs: number;
};

/**
 * Answers exactly one request on a connection and closes it: for the units that systemd starts per connection.
 *
 * Stricter than `serveConnection`: one byte more than the request closes the connection, and what was received is
 * overwritten once it is parsed, since it may hold a password. Resolves when the connection is gone.
 */
export function serveOnce<T extends ProtocolTable>(
  socket: Socket,
  protocol: Protocol<T>,
  handlers: OnceHandlers<T>,
  options: OnceOptions,
): Promise<void> {
  const { log, requestTimeoutMs } = options;
  const gone = new AbortController();
  const received = new Received(protocol.maxFrameBytes);
  let isTaken = false;

  function refuse(error: unknown): void {
    received.wipe();
    if (socket.destroyed) return;
    const peer = options.describePeer?.(socket);
    log.warning('connection refused', { reason: errorText(error), ...(peer !== undefined && { peer }) });
    socket.destroy();
  }

  function send(message: unknown): void {
    if (!socket.destroyed) socket.write(encodeFrame(message));
  }

  function drained(): Promise<void> {
    if (socket.destroyed || !socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        socket.off('drain', done).off('close', done);
        resolve();
      };
      socket.on('drain', done).on('close', done);
    });
  }

  async function answer(message: unknown): Promise<void> {
    const { id, method, params } = envelope(message, '');
    const shape = Object.hasOwn(protocol.requests, method) ? protocol.requests[method] : undefined;
    const handler = handlers[method];
    if (shape === undefined || handler === undefined) throw new MetalhubError('MH_ERR_WIRE_UNKNOWN_METHOD');
    const checked = shape.params(params, 'params') as ParamsOf<T, keyof T>;
    try {
      const emit = (event: unknown): void => send({ id, event });
      send({ id, result: await handler(checked, { emit, drained, signal: gone.signal }) });
    } catch (error) {
      if (!gone.signal.aborted) logFailure(log, method, error);
      send({ id, error: toErrorFrame(error) });
    }
    socket.end(() => socket.destroy());
  }

  const timer = setTimeout(
    () => refuse(new Error(`no complete request within ${requestTimeoutMs} ms`)),
    requestTimeoutMs,
  );
  socket.on('data', (chunk) => {
    try {
      if (isTaken) throw new ShapeError('more than one request');
      const message = received.push(chunk);
      if (message === undefined) return;
      isTaken = true;
      clearTimeout(timer);
      void answer(message.body).catch(refuse);
    } catch (error) {
      chunk.fill(0);
      refuse(error);
    }
  });
  socket.on('error', () => socket.destroy());
  return new Promise((resolve) => {
    socket.once('close', () => {
      clearTimeout(timer);
      received.wipe();
      gone.abort();
      resolve();
    });
  });
}

/** The bytes of one frame, kept so that they can be overwritten. */
class Received {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** @returns `undefined` until the frame is complete */
  push(chunk: Buffer): { body: unknown } | undefined {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < HEADER_BYTES) return undefined;
    const [first] = this.#chunks;
    const size = (first !== undefined && first.length >= HEADER_BYTES ? first : this.#join()).readUInt32BE(0);
    if (size > this.#maxBytes) {
      throw new MetalhubError('MH_ERR_WIRE_TOO_LARGE', { details: { size, limit: this.#maxBytes } });
    }
    if (this.#bytes < HEADER_BYTES + size) return undefined;
    if (this.#bytes > HEADER_BYTES + size) throw new ShapeError('more than one request');
    try {
      const [body] = new FrameDecoder(this.#maxBytes).push(this.#join());
      return { body };
    } finally {
      this.wipe();
    }
  }

  wipe(): void {
    for (const chunk of this.#chunks) chunk.fill(0);
    this.#chunks = [];
    this.#bytes = 0;
  }

  #join(): Buffer {
    const whole = Buffer.concat(this.#chunks, this.#bytes);
    this.wipe();
    this.#chunks = [whole];
    this.#bytes = whole.length;
    return whole;
  }
}
