import {
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { ClientConnection } from './client-connection.js';
import type { ConnectionLimit } from './connection-limit.js';
import type { Expiring } from './deadlines.js';
import type { Arrival } from './edge.js';
import { Http2Budget } from './http2-budget.js';
import { http1Request } from './http2-request-head.js';
import { NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM } from './http2-response.js';
import { Http2StreamSocket } from './http2-stream-socket.js';
import type { OpenConnection } from './open-connection.js';
import type { WorkerContext } from './worker-context.js';

const END_STREAM = 0x1;
/** Requests that were sent together arrive within this time. */
const FLIGHT_MS = 100;
/** How long a draining worker waits for a next request when nothing is under way any more. */
const DRAIN_LINGER_MS = 5000;
/** What browsers expect to have before they are told. */
const MAX_STREAMS = 128;
const LINGER_MS = 2000;
/** What one client may send ahead of a slow server, per stream and in all. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 1024 * 1024;
/** Requests that a client cancels: a page that is left cancels some, an attack nothing else (CVE-2023-44487). */
const CANCEL_BURST = 200;
const CANCELS_PER_SEC = 20;
/** How often is looked at what has come. */
const LOOK_MS = 500;

const OPTIONS: ServerOptions = {
  // One more than the strict front takes, so that it is the one to answer.
  maxHeaderListPairs: 1100,
  maxSessionMemory: 4,
  maxSettings: 32,
  maxOutstandingPings: 4,
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  settings: {
    maxConcurrentStreams: MAX_STREAMS,
    initialWindowSize: STREAM_WINDOW,
    maxHeaderListSize: 128 * 1024,
    enablePush: false,
  },
};

/** A browser's connection of HTTP/2: each of its streams is a request for the strict front. */
export class Http2Connection implements OpenConnection, Expiring {
  readonly #socket: TLSSocket;
  readonly #session: ServerHttp2Session;
  readonly #context: WorkerContext;
  readonly #arrival: Arrival;
  readonly #limit: ConnectionLimit;
  #streams = 0;
  #timer: NodeJS.Timeout | undefined;
  #isLastFlight = false;
  #cancels = 0;
  #cancelsAtMs = performance.now();
  /** See {@link Deadlines}. */
  deadlineMs: number;
  readonly #budget: Http2Budget;
  readonly #open = new Set<Http2StreamSocket>();
  /** As in {@link Http2Traffic}, of requests that are over. */
  #usefulBytes = 0;
  #frames = 0;

  /** @param limit counts streams like connections: each may need a descriptor */
  constructor(socket: TLSSocket, context: WorkerContext, arrival: Arrival, limit: ConnectionLimit) {
    this.#socket = socket;
    this.#context = context;
    this.#arrival = { ...arrival, isStream: true };
    this.#limit = limit;
    const session = performServerHandshake(socket, OPTIONS);
    this.#session = session;
    session.on('error', () => session.destroy());
    socket.once('close', () => {
      clearTimeout(this.#timer);
      context.deadlines.delete(this);
    });
    // The connection may be half-open; HTTP/2 has no use for that.
    socket.once('end', () => session.destroy());
    session.on('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW));
    session.on('stream', (stream: ServerHttp2Stream, _fields: unknown, flags: number, raw: readonly string[]) =>
      this.#onStream(stream, flags, raw),
    );
    this.#leaveIn(context.edge.timeouts.headMs);
    this.#budget = new Http2Budget(context.deadlines.nowMs);
    this.deadlineMs = context.deadlines.after(LOOK_MS);
    context.deadlines.add(this);
  }

  onDeadline(): void {
    const { deadlines, refusals } = this.#context;
    this.deadlineMs = deadlines.after(LOOK_MS);
    let [useful, frames] = [this.#usefulBytes, this.#frames];
    for (const open of this.#open) {
      useful += open.bytesRead + open.bytesWritten;
      frames += open.frames;
    }
    if (this.#budget.allows({ received: this.#socket.bytesRead, useful, frames }, deadlines.nowMs)) return;
    refusals.note(429, 'too much of HTTP/2 that is no request, or in tiny pieces', this.#arrival.peer);
    this.#session.destroy();
  }

  closeIfIdle(): void {
    if (this.#streams === 0) this.#leaveIn(0);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onStream(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): void {
    const { peer } = this.#arrival;
    stream.on('error', () => undefined);
    if (!this.#limit.enter(peer)) {
      this.#context.metrics.connectionRefused(this.#limit.isFull ? 'total' : 'source');
      this.#context.refusals.note(503, 'too many connections', peer);
      return stream.close(NGHTTP2_REFUSED_STREAM);
    }
    this.#streams++;
    if (!this.#context.isDraining()) clearTimeout(this.#timer);
    else if (!this.#isLastFlight) {
      this.#isLastFlight = true;
      this.#leaveIn(FLIGHT_MS);
    }
    stream.once('close', () => {
      this.#limit.leave(peer);
      this.#streams--;
      if (stream.aborted) this.#countCancel();
      if (this.#session.closed) this.#cutWhenDone();
      else if (this.#streams === 0 && !this.#isLastFlight) this.#leaveIn(this.#idleMs());
    });
    const request = http1Request(raw, (flags & END_STREAM) === 0);
    if (typeof request === 'string') {
      this.#context.refusals.note(400, request, peer);
      this.#context.metrics.refused(400);
      return stream.close(NGHTTP2_PROTOCOL_ERROR);
    }
    this.#usefulBytes += request.head.length;
    const socket = new Http2StreamSocket(stream, request);
    this.#open.add(socket);
    stream.once('close', () => {
      this.#open.delete(socket);
      this.#usefulBytes += socket.bytesRead + socket.bytesWritten;
      this.#frames += socket.frames;
    });
    new ClientConnection(socket, this.#context, this.#arrival);
  }

  #idleMs(): number {
    return this.#context.isDraining() ? DRAIN_LINGER_MS : this.#context.edge.timeouts.idleMs;
  }

  /**
   * Tells the client the number of the last request that was taken. Of what it sends at the same moment it then knows that
   * it must be sent again elsewhere, and that nothing has come of it. A draining worker does so with the next requests that
   * come: they are answered, and whoever sends one after the other never meets the end.
   *
   * A notice in advance (RFC 9113, section 6.8) is not possible here: with the first GOAWAY sent the library stops reading
   * as soon as nothing is under way.
   */
  #leaveIn(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#session.close();
      this.#cutWhenDone();
    }, milliseconds);
  }

  /** A client that does not close its side, too, is not waited for. */
  #cutWhenDone(): void {
    if (this.#streams > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
  }

  #countCancel(): void {
    const nowMs = performance.now();
    this.#cancels = Math.max(0, this.#cancels - ((nowMs - this.#cancelsAtMs) / 1000) * CANCELS_PER_SEC) + 1;
    this.#cancelsAtMs = nowMs;
    if (this.#cancels <= CANCEL_BURST || this.#session.destroyed) return;
    this.#context.refusals.note(429, 'too many cancelled requests', this.#arrival.peer);
    this.#session.destroy();
  }
}
