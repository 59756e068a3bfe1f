import type { Server, Socket } from 'node:net';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { integer, object, ShapeError, text } from '@metalhub/base/shape.js';
import { toErrorFrame } from './error-frame.js';
import { encodeFrame, FrameDecoder } from './frame.js';
import type { EventOf, ParamsOf, Protocol, ProtocolTable, ResultOf } from './protocol.js';

export interface RequestContext<E> {
  /** Sends an event to the caller; after the caller is gone it does nothing. */
  emit(event: E): void;
  /** Aborted when the caller's connection is gone. */
  readonly signal: AbortSignal;
}

/** One answer per request of the protocol: `answerStartServer` for `StartServer`. */
export type Handlers<T extends ProtocolTable> = {
  [M in keyof T]: (params: ParamsOf<T, M>, context: RequestContext<EventOf<T, M>>) => Promise<ResultOf<T, M>>;
};

export interface ServeOptions {
  log: Log;
  /** Milliseconds a connection may take to complete its first message, and any message it has begun. Default 10 s. */
  messageTimeoutMs?: number;
  /** Bytes that may wait for a slow reader before its connection is dropped. Default 4 MiB. */
  maxBufferedBytes?: number;
  /** Says who called, for the log of a refused connection, e.g. `uid=33 pid=812`. */
  describePeer?: (socket: Socket) => string;
  /** Called when a request begins and ends, for idle exits. */
  onActivity?: () => void;
}

/** What every request looks like. */
export const envelope = object({
  id: integer(1, Number.MAX_SAFE_INTEGER),
  method: text({ pattern: /^[A-Z][A-Za-z]{0,63}$/, max: 64 }),
  params: (value: unknown) => value,
});

/** Answers the protocol on every connection of a listening server. */
export function serveWire<T extends ProtocolTable>(
  server: Server,
  protocol: Protocol<T>,
  handlers: Handlers<T>,
  options: ServeOptions,
): void {
  server.on('connection', (socket) => {
    void serveConnection(socket, protocol, handlers, options); // resolves at the connection's end, whatever ended it
  });
}

/** Answers the protocol on one connection, such as the one an `Accept=yes` unit was started for. Resolves at its end. */
export function serveConnection<T extends ProtocolTable>(
  socket: Socket,
  protocol: Protocol<T>,
  handlers: Handlers<T>,
  options: ServeOptions,
): Promise<void> {
  const decoder = new FrameDecoder(protocol.maxFrameBytes);
  const gone = new AbortController();
  const pending = new Set<number>();
  const timeoutMs = options.messageTimeoutMs ?? 10_000;
  let timer: NodeJS.Timeout | undefined;
  const wait = (): void => {
    timer = setTimeout(() => refuse(new Error(`no complete message within ${timeoutMs} ms`)), timeoutMs);
  };
  const stopTimer = (): void => {
    clearTimeout(timer);
    timer = undefined;
  };

  function refuse(error: unknown): void {
    if (socket.destroyed) return;
    const peer = options.describePeer?.(socket);
    options.log.warning('connection refused', { reason: errorText(error), ...(peer !== undefined && { peer }) });
    socket.destroy();
  }

  function send(message: unknown): void {
    if (socket.destroyed) return;
    socket.write(encodeFrame(message));
    if (socket.writableLength > (options.maxBufferedBytes ?? 4 * 1024 * 1024))
      refuse(new Error('caller does not read'));
  }

  async function answer(message: unknown): Promise<void> {
    const { id, method, params } = envelope(message, '');
    const shape = Object.hasOwn(protocol.requests, method) ? protocol.requests[method] : undefined;
    const handler = handlers[method];
    if (shape === undefined || handler === undefined) throw new MetalhubError('MH_ERR_WIRE_UNKNOWN_METHOD');
    if (pending.has(id) || pending.size >= protocol.maxPending)
      throw new ShapeError('too many requests, or an id again');
    const checked = shape.params(params, 'params') as ParamsOf<T, keyof T>;
    pending.add(id);
    options.onActivity?.();
    try {
      const emit = (event: unknown): void => send({ id, event });
      send({ id, result: await handler(checked, { emit, signal: gone.signal }) });
    } catch (error) {
      if (!gone.signal.aborted) logFailure(options.log, method, error);
      send({ id, error: toErrorFrame(error) });
    } finally {
      pending.delete(id);
      options.onActivity?.();
    }
  }

  socket.on('data', (chunk) => {
    try {
      const messages = decoder.push(chunk);
      // The time is for the whole message: a caller that dribbles does not get more by it.
      if (messages.length > 0) stopTimer();
      for (const message of messages) void answer(message).catch(refuse);
    } catch (error) {
      refuse(error);
    }
    if (decoder.isIncomplete && timer === undefined) wait();
  });
  socket.on('error', () => socket.destroy());
  wait();
  return new Promise((resolve) => {
    socket.once('close', () => {
      stopTimer();
      gone.abort();
      resolve();
    });
  });
}

/** A refusal is the caller's business; anything unknown is ours and needs its stack. */
export function logFailure(log: Log, method: string, error: unknown): void {
  if (error instanceof MetalhubError) log.info('request refused', { method, code: error.code, err: error });
  else log.error('request failed', { method, err: error });
}
