import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SECOND_MS } from '@metalhub/base/time.js';
import { type BodyReader, createBodyReader } from './body-reader.js';
import { Exchange, type ExchangeEnd } from './exchange.js';
import { isNavigation, type Passed, type Verdict } from './gate.js';
import { HeadCollector } from './head-collector.js';
import { NAVIGATION_FIELD, TARGET_FIELD } from './hub-forward.js';
import { formatAnswer } from './own-answer.js';
import { type Answer, badGateway, gatewayTimeout, hubAway, jsonAnswer, serverAway } from './pages.js';
import { type Route, routeIdentity, routeKey } from './proxy-state.js';
import { isRefusal, parseRequestHead, type Refusal, type RequestHead } from './request-head.js';
import { type RouteKind, routeKind } from './route-kind.js';
import { isUnixTarget } from './target.js';
import { runTunnel } from './tunnel.js';
import { connectUpstream } from './upstream.js';
import type { WorkerContext } from './worker-context.js';

export const HEAD_TIMEOUT_MS = 10 * SECOND_MS;
export const KEEP_ALIVE_MS = 75 * SECOND_MS;
export const BODY_STALL_MS = 60 * SECOND_MS;
/** How long a draining worker leaves connections open that wait for a request, since one may be on its way. */
export const DRAIN_LINGER_MS = 5 * SECOND_MS;
const LINGER_CLOSE_MS = 2 * SECOND_MS;
const MAX_PIPELINED_BYTES = 32 * 1024;

interface Kept {
  readonly upstream: Duplex;
  readonly route: Route;
  release(): void;
}

/** One client's connection: one request after the other, each read strictly, checked, and forwarded. */
export class ClientConnection {
  readonly #socket: Socket;
  readonly #context: WorkerContext;
  readonly #peer: string;
  readonly #heads = new HeadCollector();
  #state: 'head' | 'busy' | 'tunnel' | 'closing' = 'head';
  #timer: NodeJS.Timeout | undefined;
  #body: BodyReader | undefined;
  #exchange: Exchange | undefined;
  /** Connection to the last request's server; never used for another route or another client. */
  #kept: Kept | undefined;
  #forgetWork: (() => void) | undefined;
  #isHeld = false;
  /** For metrics: where the request under way leads, and when its head was there. */
  #kind: RouteKind = 'none';
  #startedMs = 0;

  constructor(socket: Socket, context: WorkerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#peer = (socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, '');
    socket.setNoDelay(true);
    socket.on('data', this.#onData);
    socket.on('end', this.#onClientEnd);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#cleanUp());
    this.#arm(HEAD_TIMEOUT_MS);
  }

  /** Closes when nothing is under way, after a while in which a last request may still come. */
  drain(): void {
    if (this.#state === 'head' && this.#heads.isEmpty) this.#arm(DRAIN_LINGER_MS);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#state === 'closing') return;
    if (this.#state === 'busy') return this.#takeBody(chunk);
    if (this.#heads.isEmpty) this.#arm(HEAD_TIMEOUT_MS);
    this.#heads.push(chunk);
    this.#nextHead();
  };

  #nextHead(): void {
    const found = this.#heads.take();
    if (found === undefined) return;
    if ('status' in found) return this.#refuse(found);
    this.#disarm();
    const head = parseRequestHead(found.head);
    if (isRefusal(head)) return this.#refuse(head);
    if (!this.#context.hosts.has(head.host.name)) return this.#refuse({ status: 421, reason: 'unknown host' });
    this.#state = 'busy';
    this.#kind = 'none';
    this.#startedMs = performance.now();
    this.#body = createBodyReader(head.framing);
    const first = this.#body.push(found.rest);
    if (first.error !== undefined) return this.#refuse({ status: 400, reason: first.error });
    if (head.isUpgrade && found.rest.length > 0)
      return this.#refuse({ status: 400, reason: 'bytes behind an upgrade' });
    if (first.rest !== undefined) this.#hold(first.rest);
    const route = this.#context.state.table.findRoute(head.path, head.host.name);
    if (route === undefined) return this.#answer(head, jsonAnswer(404, 'no such page'));
    this.#kind = routeKind(route);
    const verdict = this.#context.gate.check(head, route);
    if (!(verdict instanceof Promise)) return this.#follow(head, route, verdict, first.out);
    this.#socket.pause();
    verdict.then(
      (checked) => this.#follow(head, route, checked, first.out),
      (error: unknown) => {
        this.#context.log.error('check of a visitor failed', { err: error });
        this.#answer(head, jsonAnswer(500, 'internal error'));
      },
    );
  }

  #follow(head: RequestHead, route: Route, verdict: Verdict, body: readonly Buffer[]): void {
    if (this.#socket.destroyed) return;
    if (!this.#isHeld) this.#socket.resume();
    if (verdict.kind === 'answer') return this.#answer(head, verdict.answer);
    // The check may have taken a while: the route must be the one in force now.
    if (this.#context.state.table.findRoute(head.path, head.host.name) !== route) {
      const current = this.#context.state.table.findRoute(head.path, head.host.name);
      const isSame = current !== undefined && routeIdentity(current) === routeIdentity(route);
      if (!isSame) return this.#answer(head, serverAway(isNavigation(head)));
    }
    this.#forward(head, route, verdict, body);
  }

  #forward(head: RequestHead, route: Route, passed: Passed, body: readonly Buffer[]): void {
    const isHub = isUnixTarget(route.target, this.#context.settings.hub_socket_path);
    const socketPath =
      route.target.kind === 'unix' && route.target.base_path === undefined ? route.target.path : undefined;
    const isThroughForward = route.auth === 'upstream' && !head.isUpgrade && socketPath !== undefined;
    const proto = this.#context.gate.proto(head);
    const extra = isThroughForward
      ? ([
          [TARGET_FIELD, socketPath],
          [NAVIGATION_FIELD, isNavigation(head) ? '1' : '0'],
        ] as const)
      : [];
    const exchange = new Exchange({
      client: this.#socket,
      head:
        route.target.base_path === undefined ? head : { ...head, target: `${route.target.base_path}${head.target}` },
      route,
      by: { peer: this.#peer, proto, isHub, closeUpstream: route.auth === 'upstream', extra },
      setCookies: passed.setCookies,
      mustCloseClient: () => !head.keepAlive || this.#context.isDraining(),
      open: () => (isThroughForward ? this.#context.forward.open() : this.#open(route)),
      onDrain: () => this.#socket.resume(),
      onHead: (status) => this.#countAnswer(head, status),
      onEnd: (end) => this.#onExchangeEnd(head, route, passed, end),
    });
    this.#exchange = exchange;
    this.#context.activity.touch(routeKey(route));
    this.#forgetWork = this.#context.work.add({
      routeIdentity: routeIdentity(route),
      sessionId: passed.sessionId,
      isTunnel: false,
      checkStall: (nowMs) => exchange.checkStall(nowMs),
      close: () => this.#socket.destroy(),
    });
    exchange.start();
    this.#pushBody(body);
  }

  #open(route: Route): Promise<Duplex> | Duplex {
    const kept = this.#kept;
    this.#kept = undefined;
    kept?.release();
    if (kept !== undefined && routeIdentity(kept.route) === routeIdentity(route) && kept.upstream.writable) {
      return kept.upstream;
    }
    kept?.upstream.destroy();
    return connectUpstream(route.target, () => this.#socket.destroyed);
  }

  #takeBody(chunk: Buffer): void {
    if (this.#body === undefined || this.#body.done) return this.#hold(chunk);
    const { out, rest, error } = this.#body.push(chunk);
    if (error !== undefined) {
      this.#context.refusals.note(400, error, this.#peer);
      this.#socket.destroy();
      return;
    }
    if (rest !== undefined) this.#hold(rest);
    this.#pushBody(out);
  }

  #pushBody(pieces: readonly Buffer[]): void {
    const isDone = this.#body?.done ?? true;
    const isFlowing = this.#exchange?.pushBody(pieces, isDone) ?? true;
    if (!isFlowing) this.#socket.pause();
    if (isDone) this.#disarm();
    else if (isFlowing) this.#arm(BODY_STALL_MS);
    else this.#disarm();
  }

  /** Bytes of a next request wait until this one is answered; before a 101 there must be none. */
  #hold(bytes: Buffer): void {
    this.#heads.push(bytes);
    if (this.#heads.length <= MAX_PIPELINED_BYTES) return;
    this.#isHeld = true;
    this.#socket.pause();
  }

  #onExchangeEnd(head: RequestHead, route: Route, passed: Passed, end: ExchangeEnd): void {
    this.#exchange = undefined;
    if (end.kind !== 'answered' && end.kind !== 'tunnel') this.#context.metrics.upstreamFailed(this.#kind, end.kind);
    this.#forgetWork?.();
    this.#forgetWork = undefined;
    const isHub = isUnixTarget(route.target, this.#context.settings.hub_socket_path);
    switch (end.kind) {
      case 'answered':
        if (end.upstream !== undefined) this.#keep(end.upstream, route);
        return this.#next(end.closeClient);
      case 'tunnel':
        return this.#tunnel(route, passed, end.upstream, end.first);
      case 'unreachable':
        return this.#answer(head, isHub ? hubAway(isNavigation(head)) : serverAway(isNavigation(head)));
      case 'timeout':
        return this.#answer(head, gatewayTimeout(isNavigation(head)));
      case 'invalid':
        this.#context.log.info('no valid answer from upstream', { route: route.prefix, reason: end.reason });
        return this.#answer(head, isHub ? hubAway(isNavigation(head)) : badGateway(isNavigation(head)));
      case 'broken':
        this.#context.log.info('answer from upstream broke off', { route: route.prefix, reason: end.reason });
        this.#socket.destroy();
    }
  }

  #tunnel(route: Route, passed: Passed, upstream: Duplex, first: Buffer | undefined): void {
    if (!this.#heads.isEmpty) {
      this.#context.refusals.note(400, 'bytes before the end of a handshake', this.#peer);
      upstream.destroy();
      this.#socket.destroy();
      return;
    }
    this.#state = 'tunnel';
    this.#disarm();
    this.#socket.off('data', this.#onData);
    this.#socket.off('end', this.#onClientEnd);
    const countEnd = this.#context.metrics.tunnelOpened(this.#socket);
    const forget = (): void => {
      countEnd();
      this.#forgetWork?.();
    };
    const onActivity = (): void => this.#context.activity.touch(routeKey(route));
    const tunnel = runTunnel(this.#socket, upstream, first, { onActivity, onEnd: forget });
    this.#forgetWork = this.#context.work.add({
      routeIdentity: routeIdentity(route),
      sessionId: passed.sessionId,
      isTunnel: true,
      close: (code) => tunnel.close(code),
    });
  }

  #keep(upstream: Duplex, route: Route): void {
    const drop = (): void => {
      this.#kept = undefined;
      upstream.destroy();
    };
    const events = ['data', 'end', 'close', 'error'] as const;
    for (const event of events) upstream.on(event, drop);
    const release = (): void => {
      for (const event of events) upstream.off(event, drop);
    };
    this.#kept = { upstream, route, release };
    upstream.resume();
  }

  #countAnswer(head: RequestHead, status: number): void {
    this.#context.metrics.answered(this.#kind, status, performance.now() - this.#startedMs, head.isUpgrade);
  }

  #answer(head: RequestHead, answer: Answer): void {
    if (this.#socket.destroyed) return;
    this.#countAnswer(head, answer.status);
    const close = !head.keepAlive || head.isUpgrade || this.#context.isDraining() || this.#body?.done === false;
    this.#socket.write(formatAnswer(answer, { isHead: head.method === 'HEAD', close }));
    this.#next(close);
  }

  #refuse({ status, reason }: Refusal): void {
    this.#context.refusals.note(status, reason, this.#peer);
    this.#context.metrics.refused(status);
    this.#socket.write(
      formatAnswer(jsonAnswer(status, 'the request was not understood'), { isHead: false, close: true }),
    );
    this.#next(true);
  }

  #next(close: boolean): void {
    this.#body = undefined;
    if (close) return this.#close();
    this.#state = 'head';
    this.#isHeld = false;
    this.#socket.resume();
    this.#arm(this.#context.isDraining() ? DRAIN_LINGER_MS : this.#heads.isEmpty ? KEEP_ALIVE_MS : HEAD_TIMEOUT_MS);
    // Not within this call: a client may have sent thousands of requests ahead.
    if (!this.#heads.isEmpty) setImmediate(() => this.#state === 'head' && !this.#socket.destroyed && this.#nextHead());
  }

  /** Lets the client read the answer before the connection is reset for what it still sends. */
  #close(): void {
    this.#state = 'closing';
    this.#heads.clear();
    this.#socket.end();
    this.#socket.resume();
    this.#arm(LINGER_CLOSE_MS);
  }

  /** As with most proxies, a client that closes its side no longer wants the answer. */
  readonly #onClientEnd = (): void => this.destroy();

  #arm(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#onTimeout(), milliseconds);
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #onTimeout(): void {
    const isLate = (this.#state === 'head' && !this.#heads.isEmpty) || this.#state === 'busy';
    if (isLate) this.#context.refusals.note(408, 'request not complete in time', this.#peer);
    if (this.#state === 'head') this.#close();
    else this.#socket.destroy();
  }

  #cleanUp(): void {
    this.#disarm();
    this.#state = 'closing';
    if (this.#exchange !== undefined) this.#context.metrics.aborted();
    this.#exchange?.abort();
    this.#kept?.upstream.destroy();
    this.#forgetWork?.();
  }
}
