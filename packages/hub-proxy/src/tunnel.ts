import type { Duplex } from 'node:stream';
import { SECOND_MS } from '@metalhub/base/time.js';
import { passOn } from './shared-reader.js';
import type { UpstreamConnection, UpstreamUser } from './upstream-connection.js';
import { closeFrame, FrameBoundary } from './websocket-frames.js';
import type { WorkerContext } from './worker-context.js';

// How long the other side may take to answer a close frame, or to finish after a half-close.
const CLOSE_WAIT_MS = 5 * SECOND_MS;
const HALF_OPEN_MS = 60 * SECOND_MS;
const KEEP_ALIVE_MS = 60 * SECOND_MS;

/** A tunnel that shows as activity of its route, and is counted. @param key of the route */
export function openTunnel(
  client: Duplex,
  upstream: UpstreamConnection,
  key: string,
  { activity, deadlines, metrics }: WorkerContext,
  onOver: () => void,
): Tunnel {
  let stampedMs = Number.NEGATIVE_INFINITY;
  const onActivity = (): void => {
    if (stampedMs === deadlines.nowMs) return;
    stampedMs = deadlines.nowMs;
    activity.touch(key);
  };
  const countEnd = metrics.tunnelOpened(client);
  const onEnd = (): void => {
    countEnd();
    onOver();
  };
  return new Tunnel(client, upstream, { onActivity, onEnd });
}

export interface TunnelHooks {
  readonly onActivity: () => void;
  readonly onEnd: () => void;
}

/**
 * Passes bytes both ways until both sides are gone. Half-closes are passed on, a slow reader slows its writer.
 *
 * What the client sends is handed in by whoever listens to it.
 */
export class Tunnel implements UpstreamUser {
  readonly #client: Duplex;
  readonly #upstream: UpstreamConnection;
  readonly #hooks: TunnelHooks;
  readonly #toClient = new FrameBoundary();
  #closeCode: number | undefined;
  #isCloseSent = false;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(client: Duplex, upstream: UpstreamConnection, hooks: TunnelHooks) {
    this.#client = client;
    this.#upstream = upstream;
    this.#hooks = hooks;
    if ('setKeepAlive' in client && typeof client.setKeepAlive === 'function') client.setKeepAlive(true, KEEP_ALIVE_MS);
  }

  /** @param first what the upstream sent right behind its 101 */
  start(first: Buffer | undefined): void {
    this.#upstream.use(this);
    this.#client.resume();
    if (first !== undefined) this.onUpstreamData(first, false);
  }

  /** Sends a close frame between two frames, then ends both sides. */
  close(code: number): void {
    if (this.#isOver || this.#closeCode !== undefined) return;
    this.#closeCode = code;
    if (this.#toClient.isAtBoundary) this.#sendClose(code);
    this.#finishWithin(CLOSE_WAIT_MS);
  }

  /** @param isBorrowed as in {@link UpstreamUser} */
  onClientData(chunk: Buffer, isBorrowed: boolean): void {
    this.#hooks.onActivity();
    const { stream } = this.#upstream;
    if (!stream.writable) return;
    const isFlowing = isBorrowed ? passOn(stream, chunk) : stream.write(chunk);
    if (!isFlowing) this.#client.pause();
  }

  onClientEnd(): void {
    this.#upstream.stream.end();
    this.#finishWithin(HALF_OPEN_MS);
  }

  onClientDrain(): void {
    this.#upstream.resume();
  }

  onClientClose(hadError: boolean): void {
    this.#onSideClosed(hadError, this.#upstream.stream);
  }

  onUpstreamData(chunk: Buffer, isBorrowed: boolean): void {
    if (this.#isCloseSent) return;
    this.#hooks.onActivity();
    if (this.#closeCode === undefined) {
      this.#toClient.push(chunk);
      const isFlowing = isBorrowed ? passOn(this.#client, chunk) : this.#client.write(chunk);
      if (!isFlowing) this.#upstream.pause();
      return;
    }
    this.#client.write(Buffer.from(this.#toClient.takeUntilBoundary(chunk)));
    if (this.#toClient.isAtBoundary) this.#sendClose(this.#closeCode);
  }

  onUpstreamEnd(): void {
    this.#client.end();
    this.#finishWithin(HALF_OPEN_MS);
  }

  onUpstreamDrain(): void {
    this.#client.resume();
  }

  onUpstreamClose(hadError: boolean): void {
    this.#onSideClosed(hadError, this.#client);
  }

  /** What it sent may still wait to be written to the other side: that one ends by itself, or after a time. */
  #onSideClosed(hadError: boolean, other: Duplex): void {
    if (this.#isOver) return;
    if (hadError || other.destroyed || other.writableFinished) return this.#finish();
    other.end();
    this.#finishWithin(CLOSE_WAIT_MS);
    other.once('finish', () => this.#finish());
  }

  #sendClose(code: number): void {
    this.#isCloseSent = true;
    this.#client.end(closeFrame(code));
  }

  #finishWithin(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#finish(), milliseconds);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#client.destroy();
    this.#upstream.destroy();
    this.#hooks.onEnd();
  }
}
