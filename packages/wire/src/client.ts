import { connect, type Socket } from 'node:net';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { ShapeError } from '@metalhub/base/shape.js';
import { fromErrorFrame } from './error-frame.js';
import { encodeFrame, FrameDecoder } from './frame.js';
import type { EventOf, ParamsOf, Protocol, ProtocolTable, ResultOf } from './protocol.js';

export interface CallOptions<E> {
  onEvent?: ((event: E) => void) | undefined;
  /** Aborting closes the whole connection: the peer sees its caller vanish. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until MH_ERR_WIRE_TIMEOUT; none by default, since a start may take minutes. */
  timeoutMs?: number | undefined;
}

interface Waiting {
  method: string;
  onEvent: ((event: unknown) => void) | undefined;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
}

export interface WireClient<T extends ProtocolTable> {
  /** @throws {MetalhubError} the peer's own error, or MH_ERR_WIRE_* */
  call<M extends keyof T & string>(
    method: M,
    params: ParamsOf<T, M>,
    options?: CallOptions<EventOf<T, M>>,
  ): Promise<ResultOf<T, M>>;
  /** For descriptors, which no message can carry. */
  readonly socket: Socket;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>;
  /** Takes no more from the peer for now, which makes it wait; what is here already is still delivered. */
  pause(): void;
  resume(): void;
  close(): void;
}

/**
 * Opens one connection to a daemon of the suite. Connecting may start it (socket activation).
 * @throws {MH_ERR_WIRE_UNREACHABLE}
 */
export async function connectWire<T extends ProtocolTable>(
  protocol: Protocol<T>,
  options: { path?: string; connectTimeoutMs?: number } = {},
): Promise<WireClient<T>> {
  const socket = await openSocket(protocol, options.path ?? protocol.path, options.connectTimeoutMs ?? 10_000);
  return new SocketClient(protocol, socket);
}

function openSocket(protocol: Protocol<ProtocolTable>, path: string, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs);
    const fail = (cause: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      const details = { peer: protocol.peer, reason: errorText(cause) };
      reject(new MetalhubError('MH_ERR_WIRE_UNREACHABLE', { details, cause }));
    };
    socket.once('error', fail);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

class SocketClient<T extends ProtocolTable> implements WireClient<T> {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  readonly #protocol: Protocol<T>;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor(protocol: Protocol<T>, socket: Socket) {
    this.#protocol = protocol;
    this.socket = socket;
    const decoder = new FrameDecoder(protocol.maxFrameBytes);
    socket.on('data', (chunk) => {
      try {
        for (const message of decoder.push(chunk)) this.#receive(message);
      } catch (error) {
        this.#fail(error);
      }
    });
    socket.on('error', (cause) => {
      const details = { peer: protocol.peer, reason: errorText(cause) };
      this.#fail(new MetalhubError('MH_ERR_WIRE_UNREACHABLE', { details, cause }));
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#fail(new MetalhubError('MH_ERR_WIRE_CLOSED', { details: { peer: protocol.peer } }));
        resolve();
      });
    });
  }

  async call<M extends keyof T & string>(
    method: M,
    params: ParamsOf<T, M>,
    options: CallOptions<EventOf<T, M>> = {},
  ): Promise<ResultOf<T, M>> {
    const id = this.#nextId++;
    const shape = this.#protocol.requests[method];
    if (shape === undefined) throw new MetalhubError('MH_ERR_WIRE_UNKNOWN_METHOD');
    if (this.socket.destroyed) {
      throw new MetalhubError('MH_ERR_WIRE_CLOSED', { details: { peer: this.#protocol.peer } });
    }
    options.signal?.throwIfAborted();
    const abort = (): void => this.#fail(options.signal?.reason);
    options.signal?.addEventListener('abort', abort, { once: true });
    let timer: NodeJS.Timeout | undefined;
    try {
      const result = await new Promise<unknown>((resolve, reject) => {
        const { timeoutMs, onEvent } = options;
        const forward = onEvent && ((event: unknown) => onEvent(shape.event(event, 'event') as EventOf<T, M>));
        this.#waiting.set(id, { method, onEvent: forward, resolve, reject });
        if (timeoutMs !== undefined) {
          const details = { peer: this.#protocol.peer, timeoutMs };
          timer = setTimeout(() => this.#fail(new MetalhubError('MH_ERR_WIRE_TIMEOUT', { details })), timeoutMs);
        }
        this.socket.write(encodeFrame({ id, method, params }));
      });
      return shape.result(result, 'result') as ResultOf<T, M>;
    } catch (error) {
      throw error instanceof ShapeError ? malformed(error) : error;
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
      this.#waiting.delete(id);
    }
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  close(): void {
    this.socket.destroy();
  }

  #receive(message: unknown): void {
    if (typeof message !== 'object' || message === null) throw malformed(new Error('not an object'));
    const { id, result, error, event } = message as Record<string, unknown>;
    const waiting = typeof id === 'number' ? this.#waiting.get(id) : undefined;
    if (waiting === undefined) return;
    if (event !== undefined) waiting.onEvent?.(event);
    else if (error !== undefined) waiting.reject(fromErrorFrame(error));
    else waiting.resolve(result);
  }

  /** Everything that waits gets the error; the connection is of no more use. */
  #fail(error: unknown): void {
    const reason = error instanceof ShapeError ? malformed(error) : error;
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
    this.socket.destroy();
  }
}

function malformed(cause: Error): MetalhubError {
  return new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: cause.message }, cause });
}
