import { readdirSync, statSync } from 'node:fs';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Counters } from './metrics-counters.js';
import { ROUTE_KINDS, type RouteKind } from './route-kind.js';
import { receivedBytes, sentBytes } from './stall.js';

/** Upper bounds of the latency's buckets, in seconds. */
export const LATENCY_BOUNDS_SEC = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
const BOUNDS_MS = LATENCY_BOUNDS_SEC.map((bound) => bound * SECOND_MS);
const BUCKETS = BOUNDS_MS.length + 1;
/** Codes from 100 to 599. A user's server chooses its codes itself: others become one, so that it cannot make up series. */
const CODES = 500;
const OTHER_CODE = CODES;
const CODE_SLOTS = CODES + 1;

/** Why nothing, or nothing useful, came from upstream. */
export const UPSTREAM_ERRORS = ['unreachable', 'invalid', 'broken', 'timeout'] as const;
export type UpstreamError = (typeof UPSTREAM_ERRORS)[number];

/** Why a connection was closed as soon as it was made. */
export const CONNECTION_REFUSALS = ['source', 'total'] as const;
export type ConnectionRefusal = (typeof CONNECTION_REFUSALS)[number];

/**
 * Counts what one worker does. What is called once per request is additions in plain arrays: 2 ns each, no garbage. Bytes
 * are what the sockets count anyway, so passing them on costs nothing here.
 */
export class WorkerMetrics {
  readonly #answers = new Float64Array(ROUTE_KINDS.length * CODE_SLOTS);
  readonly #latencies = new Float64Array(ROUTE_KINDS.length * BUCKETS);
  readonly #latencySumMs = new Float64Array(ROUTE_KINDS.length);
  readonly #errors = new Float64Array(ROUTE_KINDS.length * UPSTREAM_ERRORS.length);
  readonly #refusals = new Float64Array(CONNECTION_REFUSALS.length);
  #upgrades = 0;
  #aborted = 0;
  #connections = 0;
  #receivedBytes = 0;
  #sentBytes = 0;
  #tunnels = 0;
  #drains = 0;
  #tunnelReceivedBytes = 0;
  #tunnelSentBytes = 0;
  readonly #openTunnels = new Set<OpenTunnel>();

  /**
   * The head of an answer goes out, of the upstream or of our own.
   *
   * @param tookMs since the request's head was complete
   */
  answered(kind: RouteKind, status: number, tookMs: number, isUpgrade: boolean): void {
    const at = KIND_INDEX[kind];
    const code = status >= 100 && status < 600 ? status - 100 : OTHER_CODE;
    const slot = at * CODE_SLOTS + code;
    this.#answers[slot] = (this.#answers[slot] ?? 0) + 1;
    let bucket = 0;
    while (bucket < BOUNDS_MS.length && tookMs > (BOUNDS_MS[bucket] ?? 0)) bucket++;
    const latency = at * BUCKETS + bucket;
    this.#latencies[latency] = (this.#latencies[latency] ?? 0) + 1;
    this.#latencySumMs[at] = (this.#latencySumMs[at] ?? 0) + tookMs;
    if (isUpgrade) this.#upgrades++;
  }

  /** A request was refused before its head was understood: it took no time worth counting. */
  refused(status: number): void {
    const slot = KIND_INDEX.none * CODE_SLOTS + status - 100;
    this.#answers[slot] = (this.#answers[slot] ?? 0) + 1;
  }

  /** The client went away before there was an answer. */
  aborted(): void {
    this.#aborted++;
  }

  upstreamFailed(kind: RouteKind, error: UpstreamError): void {
    const slot = KIND_INDEX[kind] * UPSTREAM_ERRORS.length + UPSTREAM_ERRORS.indexOf(error);
    this.#errors[slot] = (this.#errors[slot] ?? 0) + 1;
  }

  connectionRefused(reason: ConnectionRefusal): void {
    const slot = CONNECTION_REFUSALS.indexOf(reason);
    this.#refusals[slot] = (this.#refusals[slot] ?? 0) + 1;
  }

  drained(): void {
    this.#drains++;
  }

  connectionOpened(): void {
    this.#connections++;
  }

  connectionClosed(socket: object): void {
    this.#receivedBytes += receivedBytes(socket);
    this.#sentBytes += sentBytes(socket);
  }

  /** A connection turned into a tunnel. @returns to be called at its end, once or more often */
  tunnelOpened(socket: object): () => void {
    const tunnel: OpenTunnel = { socket, receivedBefore: receivedBytes(socket), sentBefore: sentBytes(socket) };
    this.#tunnels++;
    this.#openTunnels.add(tunnel);
    return () => {
      if (!this.#openTunnels.delete(tunnel)) return;
      this.#tunnelReceivedBytes += receivedBytes(socket) - tunnel.receivedBefore;
      this.#tunnelSentBytes += sentBytes(socket) - tunnel.sentBefore;
    };
  }

  /** @param open the clients' connections */
  counters(open: Iterable<object>): Counters {
    const found: Record<string, number> = {};
    const put = (name: string, count: number): void => {
      if (count > 0) found[name] = count;
    };
    for (const [at, kind] of ROUTE_KINDS.entries()) {
      for (let code = 0; code < CODE_SLOTS; code++) {
        const count = this.#answers[at * CODE_SLOTS + code] ?? 0;
        if (count > 0) put(`requests|${kind}|${code === OTHER_CODE ? 'other' : code + 100}`, count);
      }
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        put(`latency|${kind}|${LATENCY_BOUNDS_SEC[bucket] ?? 'more'}`, this.#latencies[at * BUCKETS + bucket] ?? 0);
      }
      put(`latency_ms|${kind}`, this.#latencySumMs[at] ?? 0);
      for (const [index, error] of UPSTREAM_ERRORS.entries()) {
        put(`upstream_errors|${kind}|${error}`, this.#errors[at * UPSTREAM_ERRORS.length + index] ?? 0);
      }
    }
    for (const [index, reason] of CONNECTION_REFUSALS.entries()) {
      put(`connections_refused|${reason}`, this.#refusals[index] ?? 0);
    }
    let received = this.#receivedBytes;
    let sent = this.#sentBytes;
    for (const socket of open) {
      received += receivedBytes(socket);
      sent += sentBytes(socket);
    }
    let tunnelReceived = this.#tunnelReceivedBytes;
    let tunnelSent = this.#tunnelSentBytes;
    for (const { socket, receivedBefore, sentBefore } of this.#openTunnels) {
      tunnelReceived += receivedBytes(socket) - receivedBefore;
      tunnelSent += sentBytes(socket) - sentBefore;
    }
    const { user, system } = process.cpuUsage();
    put('cpu_ms', Math.floor((user + system) / 1000));
    put('upgrades', this.#upgrades);
    put('aborted', this.#aborted);
    put('connections', this.#connections);
    put('bytes|received', received);
    put('bytes|sent', sent);
    put('drains', this.#drains);
    put('tunnels', this.#tunnels);
    put('tunnel_bytes|received', tunnelReceived);
    put('tunnel_bytes|sent', tunnelSent);
    return found;
  }
}

interface OpenTunnel {
  readonly socket: object;
  readonly receivedBefore: number;
  readonly sentBefore: number;
}

const KIND_INDEX: Readonly<Record<RouteKind, number>> = { hub: 0, service: 1, server: 2, none: 3 };

const DESCRIPTORS_FOR_MS = 5 * SECOND_MS;
let descriptors: { readonly count: number; readonly atMs: number } | undefined;

/** How many descriptors this process has open, some seconds ago; `undefined` when there was none left to look. */
export function openDescriptors(nowMs: number = performance.now()): number | undefined {
  if (descriptors === undefined || nowMs - descriptors.atMs > DESCRIPTORS_FOR_MS) {
    try {
      // The size is their number since Linux 6.2, before it was 0. Listing tens of thousands takes a while.
      const count = statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
      descriptors = { count, atMs: nowMs };
    } catch {
      descriptors = undefined;
    }
  }
  return descriptors?.count;
}
