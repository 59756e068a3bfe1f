import { createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Log } from '@metalhub/base/log.js';
import { type Clock, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import { Activity } from './activity.js';
import { AddressRanges, plainAddress } from './address-ranges.js';
import { ClientConnection } from './client-connection.js';
import { ConnectionLimit } from './connection-limit.js';
import { Deadlines } from './deadlines.js';
import { fittingConnections } from './descriptor-budget.js';
import { type Arrival, Edge } from './edge.js';
import { ErrorPages } from './error-pages.js';
import { Gate } from './gate.js';
import type { WorkerReport } from './generation-protocol.js';
import { HostList, normalHostName } from './host.js';
import { Http2Connection } from './http2-connection.js';
import { HubForward } from './hub-forward.js';
import { addressText } from './listen-address.js';
import type { OpenConnection } from './open-connection.js';
import { OpenWork } from './open-work.js';
import type { Delta, ProxyState } from './proxy-state.js';
import { RedirectConnection } from './redirect-connection.js';
import { RefusalLog } from './refusal-log.js';
import { findErrorTarget } from './route-target.js';
import { NO_ROUTING, type Settings } from './settings.js';
import { readShared, SharedReader } from './shared-reader.js';
import { DEFAULT_STALL_LIMITS, STALL_SWEEP_MS } from './stall.js';
import { TicketRenewal } from './ticket-renewal.js';
import { TicketVerifier } from './ticket-verifier.js';
import { TlsAcceptor } from './tls-acceptor.js';
import type { UpstreamOptions } from './upstream.js';
import { UpstreamPool } from './upstream-pool.js';
import { GOING_AWAY } from './websocket-frames.js';
import type { WorkerContext } from './worker-context.js';
import { openDescriptors, WorkerMetrics } from './worker-metrics.js';
import { WorkerState } from './worker-state.js';

/** WebSockets that are still open at the deadline are closed over this time, so that not all come back at once. */
const CLOSE_SPREAD_MS = MINUTE_MS;
const AFTER_SPREAD_MS = 6 * SECOND_MS;
/** A connection that the kernel has accepted for us may still be on its way through the event loop. */
const FIRST_LOOK_MS = 100;

/** As in hub-proxy.socket; listening again on a descriptor that was handed over sets it anew. */
const BACKLOG = 4096;
const DEFAULT_PER_SOURCE = 2048;
const DEFAULT_CONNECTIONS = 24_000;

export interface WorkerOptions {
  readonly generation: number;
  readonly settings: Settings;
  readonly state: ProxyState;
  readonly log: Log;
  readonly clock: Clock;
  /** Everything is closed: the process may end. */
  readonly onEmpty: () => void;
}

/** One generation: accepts connections until told to drain, then ends with the last of them. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #startedMs: number;
  readonly #connections = new Map<Socket, OpenConnection>();
  readonly #limit: ConnectionLimit;
  readonly #tls: TlsAcceptor | undefined;
  readonly #servers: Server[] = [];
  readonly #context: WorkerContext;
  readonly #tickets: TicketVerifier;
  #drainingSinceMs: number | undefined;
  #deadlineMs: number | undefined;
  #deadline: NodeJS.Timeout | undefined;
  #isEnding = false;
  /** Of a connection, see {@link Arrival}. */
  #lastName = 0;
  readonly #sweep: NodeJS.Timeout;

  private constructor(options: WorkerOptions, forward: HubForward, upstream: UpstreamOptions, errors: ErrorPages) {
    const { settings, clock, log } = options;
    this.#options = options;
    this.#startedMs = Math.floor(clock.nowMs());
    this.#sweep = setInterval(() => this.checkStalls(), STALL_SWEEP_MS);
    this.#sweep.unref();
    this.#tickets = new TicketVerifier();
    const hosts = new HostList(settings.hosts);
    const hasForeignHub = settings.routing?.foreign_hub ?? false;
    const edge = new Edge(settings, clock);
    this.#limit = new ConnectionLimit({
      perSource: settings.edge?.connections_per_address ?? DEFAULT_PER_SOURCE,
      total: fittingConnections(settings.edge?.connections ?? DEFAULT_CONNECTIONS),
      isExempt: (address) => edge.isTrusted(address),
    });
    const hubPrefix = `${settings.base_path ?? ''}/`;
    const state = new WorkerState({
      hubSocketPath: settings.hub_socket_path,
      hubPrefix,
      hasForeignHub,
      hosts,
      clock,
    });
    const renewal = new TicketRenewal(settings.hub_socket_path, clock);
    const isRevoked = (sessionId: string): boolean => state.isRevoked(sessionId);
    const metrics = new WorkerMetrics();
    forward.failures.on('failed', (kind, error) => metrics.upstreamFailed(kind, error));
    const deadlines = new Deadlines();
    this.#context = {
      settings,
      hosts,
      log,
      state,
      gate: new Gate({ settings, clock, tickets: this.#tickets, renewal, isRevoked }),
      edge,
      forward,
      upstream,
      errors,
      work: new OpenWork(),
      deadlines,
      pool: new UpstreamPool(deadlines),
      activity: new Activity(clock),
      refusals: new RefusalLog(log, clock),
      metrics,
      isDraining: () => this.#drainingSinceMs !== undefined,
    };
    const tls = settings.edge?.tls ?? undefined;
    this.#tls =
      tls &&
      new TlsAcceptor({
        settings: tls,
        timeoutMs: edge.timeouts.headMs,
        publicOrigin: settings.public_origin,
        refusals: this.#context.refusals,
        onSecure: (socket) => this.#openSecure(socket),
      });
  }

  static async create(options: WorkerOptions): Promise<Worker> {
    const { settings, log } = options;
    const { upstream_ranges: ranges, upstream_ca: ca, error_pages, error_target } = settings.routing ?? NO_ROUTING;
    const upstream = { ranges: new AddressRanges(ranges), ca: ca === '' ? undefined : ca };
    const errorTarget = findErrorTarget(error_target, upstream.ranges, log);
    const errors = new ErrorPages(error_pages, errorTarget, upstream, log);
    const worker = new Worker(options, await HubForward.create(settings, log, errors), upstream, errors);
    await worker.setState(options.state);
    return worker;
  }

  /** Accepts on an inherited descriptor; resolves when it does. */
  listen(on: { fd: number } | { host: string; port: number }): Promise<Server> {
    let isRedirect = false;
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: false }, (socket) =>
      this.#accept(socket, isRedirect),
    );
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ ...on, backlog: BACKLOG }, () => {
        server.off('error', reject);
        isRedirect = this.#isRedirect(server);
        server.on('error', (error) => this.#options.log.error('cannot accept connections', { err: error }));
        resolve(server);
      });
    });
  }

  async setState(state: ProxyState): Promise<void> {
    await this.#context.state.apply(state, { tickets: this.#tickets, work: this.#context.work });
  }

  /** @returns false when it has another state than `base` */
  changeState(base: number, changes: readonly Delta[]): Promise<boolean> {
    return this.#context.state.change(base, changes, { tickets: this.#tickets, work: this.#context.work });
  }

  /**
   * Stops accepting; what is open may stay for `timeoutMs` after the first call. Idle connections are left alone: closed now,
   * they could meet a request that is on its way. The next answer says `Connection: close`, or their usual time ends.
   */
  drain(timeoutMs: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    const isFirst = this.#drainingSinceMs === undefined;
    this.#drainingSinceMs ??= nowMs;
    if (isFirst) {
      this.#context.metrics.drained();
      for (const server of this.#servers) server.close();
      setTimeout(() => this.#checkEmpty(), FIRST_LOOK_MS);
    }
    if (this.#isEnding) return;
    clearTimeout(this.#deadline);
    this.#deadlineMs = this.#drainingSinceMs + timeoutMs;
    const leftMs = Math.max(0, this.#deadlineMs - nowMs);
    this.#deadline = setTimeout(() => this.end(CLOSE_SPREAD_MS), leftMs);
  }

  /** Closes everything: WebSockets with 1001 spread over the time given, then what is left is cut. */
  end(withinMs: number): void {
    this.drain(withinMs);
    this.#isEnding = true;
    clearTimeout(this.#deadline);
    this.#deadlineMs = this.#options.clock.monotonicMs() + withinMs;
    this.#context.work.closeTunnelsWithin(withinMs, GOING_AWAY);
    for (const connection of this.#connections.values()) connection.closeIfIdle();
    this.#deadline = setTimeout(() => {
      for (const connection of this.#connections.values()) connection.destroy();
    }, withinMs + AFTER_SPREAD_MS);
  }

  /** By itself every {@link STALL_SWEEP_MS}. */
  checkStalls(): void {
    const { settings, clock } = this.#options;
    this.#context.work.checkStalls(clock.monotonicMs(), {
      ...DEFAULT_STALL_LIMITS,
      answerMs: settings.answer_timeout_ms ?? DEFAULT_STALL_LIMITS.answerMs,
      streamMs: settings.stream_timeout_ms ?? DEFAULT_STALL_LIMITS.streamMs,
    });
  }

  report(): WorkerReport {
    const openFds = openDescriptors();
    const { clock } = this.#options;
    const { activity, state } = this.#context;
    activity.keepOnly((key) => state.hasRoute(key));
    // Asked once: times that are reported together keep their distance.
    const wallMs = clock.nowMs() - clock.monotonicMs();
    /** A monotonic time as one of the wall clock. */
    const wall = (ms: number): number => Math.floor(wallMs + ms);
    const sinceMs = this.#drainingSinceMs;
    const deadlineMs = this.#deadlineMs;
    return {
      generation: this.#options.generation,
      pid: process.pid,
      draining: sinceMs !== undefined,
      ...(sinceMs !== undefined && { draining_since_ms: wall(sinceMs) }),
      ...(deadlineMs !== undefined && { deadline_ms: wall(deadlineMs) }),
      started_ms: this.#startedMs,
      connections: this.#connections.size,
      tunnels: this.#context.work.tunnelCount,
      activity: activity.list(),
      counters: this.#context.metrics.counters(this.#connections.keys()),
      rss_bytes: process.memoryUsage.rss(),
      state_version: state.version,
      ...(openFds !== undefined && { open_fds: openFds }),
    };
  }

  /** For a worker that shares its process with others. */
  async close(): Promise<void> {
    clearTimeout(this.#deadline);
    clearInterval(this.#sweep);
    this.#context.pool.clear();
    this.#tls?.close();
    await this.#context.forward.close();
  }

  /** What an address is for is known by the address itself: all come over one socket unit. */
  #isRedirect(server: Server): boolean {
    const address = server.address();
    if (typeof address !== 'object' || address === null) return false;
    const redirects = this.#options.settings.edge?.tls?.redirect_addresses ?? [];
    return redirects.includes(addressText(address.address, address.port));
  }

  #accept(accepted: Socket, isRedirect: boolean): void {
    const source = accepted.remoteAddress;
    // Gone again before it was looked at.
    if (source === undefined || !this.#limit.enter(source)) {
      accepted.destroy();
      if (source !== undefined) this.#context.metrics.connectionRefused(this.#limit.isFull ? 'total' : 'source');
      if (source !== undefined) this.#context.refusals.note(503, 'too many connections', source);
      return;
    }
    const isPlain = this.#tls === undefined && !isRedirect;
    const reader = isPlain ? new SharedReader() : undefined;
    const shared = reader && readShared(accepted, reader);
    const socket = shared ?? accepted;
    socket.once('close', () => {
      this.#limit.leave(source);
      this.#connections.delete(socket);
      this.#context.metrics.connectionClosed(socket);
      this.#checkEmpty();
    });
    this.#context.metrics.connectionOpened();
    this.#connections.set(socket, this.#open(socket, { source, isRedirect, reader: shared && reader }));
  }

  #open(
    socket: Socket,
    { source, isRedirect, reader }: { source: string; isRedirect: boolean; reader: SharedReader | undefined },
  ): OpenConnection {
    if (isRedirect) return new RedirectConnection(socket, this.#context);
    if (this.#tls !== undefined) return this.#tls.accept(socket);
    return new ClientConnection(socket, this.#context, this.#arrival(source, false), reader);
  }

  #arrival(source: string, isEncrypted: boolean): Arrival {
    const peer = plainAddress(source);
    const name = this.#context.edge.isTrusted(peer) ? undefined : `@${++this.#lastName}`;
    return { peer, isEncrypted, name, isStream: false };
  }

  #openSecure(socket: TLSSocket): OpenConnection {
    const arrival = this.#arrival(socket.remoteAddress ?? 'unknown', true);
    const { servername } = socket;
    const isKnown = typeof servername !== 'string' || this.#context.hosts.has(normalHostName(servername));
    // Asked for a name that is not ours: no request is for us either, whatever its Host says.
    const context = isKnown ? this.#context : { ...this.#context, hosts: new HostList([]) };
    if (socket.alpnProtocol === 'h2') return new Http2Connection(socket, context, arrival, this.#limit);
    return new ClientConnection(socket, context, arrival);
  }

  #checkEmpty(): void {
    if (this.#drainingSinceMs !== undefined && this.#connections.size === 0) this.#options.onEmpty();
  }
}
