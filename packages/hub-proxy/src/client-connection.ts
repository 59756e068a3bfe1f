import { SECOND_MS } from '@metalhub/base/time.js';
import { type BodyReader, createBodyReader } from './body-reader.js';
import type { ClientSocket } from './client-socket.js';
import type { Expiring } from './deadlines.js';
import { type Arrival, isLoginAttempt, type Visitor } from './edge.js';
import { Exchange, type ExchangeEnd, type ExchangeOwner } from './exchange.js';
import { isNavigation, type Passed, type Verdict } from './gate.js';
import { KeptUpstream } from './kept-upstream.js';
import type { OpenConnection } from './open-connection.js';
import type { OpenItem } from './open-work.js';
import { formatAnswer } from './own-answer.js';
import { type Answer, jsonAnswer, serverAway, tooManyLogins } from './pages.js';
import { PipelinedHeads } from './pipelined-heads.js';
import { type Route, routeIdentity, routeKey } from './proxy-state.js';
import { isRefusal, parseRequestHead, type Refusal, type RequestHead } from './request-head.js';
import {
  exchangeOptions,
  failureAnswer,
  isThroughForward,
  makeWork,
  type RequestWork,
  tunnelWork,
  unroutedAnswer,
} from './request-work.js';
import { type RouteKind, routeKind } from './route-kind.js';
import type { SharedReader } from './shared-reader.js';
import type { StallLimits } from './stall.js';
import { openTunnel, type Tunnel } from './tunnel.js';
import { connectUpstream } from './upstream.js';
import { UpstreamConnection } from './upstream-connection.js';
import type { WorkerContext } from './worker-context.js';

const LINGER_CLOSE_MS = 2 * SECOND_MS;
const NO_PIECES: readonly Buffer[] = [];

/** One client's connection: one request after the other, each read strictly, checked, and forwarded. */
export class ClientConnection implements ExchangeOwner, Expiring, OpenItem, OpenConnection {
  readonly #socket: ClientSocket;
  readonly #context: WorkerContext;
  readonly #arrival: Arrival;
  readonly #heads: PipelinedHeads;
  #state: 'head' | 'busy' | 'tunnel' | 'closing' = 'head';
  /** See {@link Deadlines}. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** Of the last request that was understood. */
  #visitor: Visitor | undefined;
  /** Of the request under way; `undefined` when all of it has come. */
  #body: BodyReader | undefined;
  #exchange: Exchange | undefined;
  #tunnel: Tunnel | undefined;
  #work: RequestWork | undefined;
  readonly #kept = new KeptUpstream();
  /** What the client sent ahead waits for its turn, or until the client has read the answers before. */
  #isWaiting = false;
  /** For metrics: where the request under way leads, and when its head was there. */
  #kind: RouteKind = 'none';
  #startedMs = 0;

  /** @param reader when the socket was made with its options; without one its own events are used */
  constructor(socket: ClientSocket, context: WorkerContext, arrival: Arrival, reader?: SharedReader) {
    this.#socket = socket;
    this.#context = context;
    this.#arrival = arrival;
    this.#heads = new PipelinedHeads(socket, context.edge.maxHeadBytes);
    socket.setNoDelay(true);
    if (reader === undefined) socket.on('data', (chunk: Buffer) => this.#onData(chunk, false));
    else reader.onRead = (chunk) => this.#onData(chunk, true);
    socket.on('end', () => this.#onClientEnd());
    socket.on('drain', () => this.#onClientDrain());
    socket.on('error', () => socket.destroy());
    socket.once('close', (hadError?: boolean) => this.#cleanUp(hadError === true));
    context.work.add(this);
    context.deadlines.add(this);
    this.#arm(this.#context.edge.timeouts.headMs);
  }

  get routeIdentity(): string | undefined {
    return this.#work?.identity;
  }

  get sessionId(): string | undefined {
    return this.#work?.passed.sessionId;
  }

  get isTunnel(): boolean {
    return this.#tunnel !== undefined;
  }

  close(code: number): void {
    if (this.#tunnel !== undefined) this.#tunnel.close(code);
    else this.#socket.destroy();
  }

  /** For a worker that ends: closes at once when nothing is under way. */
  closeIfIdle(): void {
    if (this.#state === 'head' && this.#heads.isEmpty) this.#close();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #onData(chunk: Buffer, isBorrowed: boolean): void {
    if (this.#tunnel !== undefined) return this.#tunnel.onClientData(chunk, isBorrowed);
    if (this.#state === 'closing') return;
    if (this.#state === 'busy') return this.#takeBody(chunk, isBorrowed);
    if (this.#isWaiting) return this.#heads.hold(isBorrowed ? Buffer.from(chunk) : chunk);
    if (this.#heads.isEmpty) this.#arm(this.#context.edge.timeouts.headMs);
    this.#heads.push(chunk, isBorrowed);
    this.#nextHead();
  }

  #nextHead(): void {
    const found = this.#heads.take();
    // One head may be longer than what is taken ahead.
    if (found === undefined) return this.#heads.release();
    if ('status' in found) return this.#refuse(found);
    this.#disarm();
    const parsed = parseRequestHead(found.head, this.#context.edge.maxHeadFields);
    if (isRefusal(parsed)) return this.#refuse(parsed);
    const visitor = this.#context.edge.identify(parsed, this.#arrival);
    if ('status' in visitor) return this.#refuse(visitor);
    const { head } = visitor;
    if (!this.#context.hosts.has(head.host.name)) return this.#refuse({ status: 421, reason: 'unknown host' });
    this.#state = 'busy';
    this.#kind = 'none';
    this.#startedMs = performance.now();
    this.#visitor = visitor;
    let body = NO_PIECES;
    if (head.framing.kind === 'none') {
      if (head.isUpgrade && found.rest.length > 0)
        return this.#refuse({ status: 400, reason: 'bytes behind an upgrade' });
      if (found.rest.length > 0) this.#heads.hold(found.rest);
    } else {
      const reader = createBodyReader(head.framing);
      const { out, rest, error } = reader.push(found.rest);
      if (error !== undefined) return this.#refuse({ status: 400, reason: error });
      this.#body = reader.done ? undefined : reader;
      if (rest !== undefined) this.#heads.hold(rest);
      body = out;
    }
    const base = this.#context.settings.base_path ?? '';
    if (isLoginAttempt(head, base) && !this.#context.edge.logins.take(visitor.address)) {
      this.#context.refusals.note(429, 'too many logins', visitor.address);
      return this.#answer(head, tooManyLogins(this.#context.edge.logins.retryAfterSec, base));
    }
    const route = this.#context.state.table.findRoute(head.path, head.host.name);
    if (route === undefined) return this.#answerError(head, unroutedAnswer(head, this.#context.settings));
    this.#kind = routeKind(route);
    const verdict = this.#context.gate.check(head, route, visitor.proto);
    if (!(verdict instanceof Promise)) return this.#follow(head, route, verdict, body);
    this.#socket.pause();
    verdict.then(
      (checked) => {
        if (!this.#socket.destroyed && !this.#heads.isHeld) this.#socket.resume();
        // It may have taken a while: the route must be one that is in force now.
        const current = this.#context.state.table.findRoute(head.path, head.host.name);
        const isInForce = current !== undefined && routeIdentity(current) === routeIdentity(route);
        if (isInForce || checked.kind === 'answer') this.#follow(head, current ?? route, checked, body);
        else this.#answerError(head, serverAway(isNavigation(head), base));
      },
      (error: unknown) => {
        this.#context.log.error('check of a visitor failed', { err: error });
        this.#answer(head, jsonAnswer(500, 'internal error'));
      },
    );
  }

  #follow(head: RequestHead, route: Route, verdict: Verdict, body: readonly Buffer[]): void {
    if (this.#socket.destroyed) return;
    if (verdict.kind === 'answer') this.#answer(head, verdict.answer);
    else this.#forward(head, route, verdict, body);
  }

  #forward(head: RequestHead, route: Route, passed: Passed, body: readonly Buffer[]): void {
    const { address: peer = this.#arrival.peer, proto = 'http' } = this.#visitor ?? {};
    const hsts = this.#hsts();
    const hubSocketPath = this.#context.settings.hub_socket_path;
    this.#work = makeWork(head, route, passed, this.#arrival.name);
    this.#context.activity.touch(routeKey(route));
    const from = { client: this.#socket, peer, proto, hsts, hubSocketPath };
    this.#exchange = new Exchange(this, exchangeOptions(this.#work, from));
    this.#exchange.start(body, this.#body === undefined);
    if (this.#body !== undefined) this.#arm(this.#context.edge.timeouts.bodyMs);
  }

  #hsts(): string | undefined {
    return this.#visitor && this.#context.edge.hstsFor(this.#visitor, this.#arrival);
  }

  mustCloseClient(): boolean {
    return this.#work?.head.keepAlive !== true || this.#context.isDraining();
  }

  onExchangeDrain(): void {
    if (this.#body === undefined) return;
    this.#arm(this.#context.edge.timeouts.bodyMs);
    this.#socket.resume();
  }

  openUpstream(mayBeUsed: boolean): { upstream: UpstreamConnection; isUsed: boolean } | Promise<UpstreamConnection> {
    const work = this.#currentWork();
    if (isThroughForward(work.head, work.route)) {
      return { upstream: new UpstreamConnection(this.#context.forward.open()), isUsed: false };
    }
    const used = this.#kept.take(work, mayBeUsed, this.#context.pool);
    if (used !== undefined) return { upstream: used, isUsed: true };
    return connectUpstream(work.route.target, () => this.#socket.destroyed, this.#context.upstream);
  }

  #currentWork(): RequestWork {
    if (this.#work === undefined) throw new TypeError('no request is under way');
    return this.#work;
  }

  #takeBody(chunk: Buffer, isBorrowed: boolean): void {
    const reader = this.#body;
    if (reader === undefined) return this.#heads.hold(isBorrowed ? Buffer.from(chunk) : chunk);
    const { out, rest, error } = reader.push(chunk);
    if (error !== undefined) {
      this.#context.refusals.note(400, error, this.#arrival.peer);
      this.#socket.destroy();
      return;
    }
    if (reader.done) this.#body = undefined;
    if (rest !== undefined) this.#heads.hold(isBorrowed ? Buffer.from(rest) : rest);
    this.#pushBody(out, isBorrowed);
  }

  #pushBody(pieces: readonly Buffer[], isBorrowed: boolean): void {
    const isDone = this.#body === undefined;
    const isFlowing = this.#exchange?.pushBody(pieces, isDone, isBorrowed) ?? true;
    // Behind the last piece nobody would resume it: the client's end would wait unread behind what it sent ahead.
    if (!isFlowing && !isDone) this.#socket.pause();
    if (isDone) this.#disarm();
    else if (isFlowing) this.#arm(this.#context.edge.timeouts.bodyMs);
    else this.#disarm();
  }

  onExchangeEnd(end: ExchangeEnd): void {
    const work = this.#currentWork();
    this.#exchange = undefined;
    if (end.kind === 'tunnel') return this.#startTunnel(end.upstream, end.first);
    this.#work = undefined;
    if (end.kind === 'answered') {
      if (end.upstream !== undefined) this.#kept.keep(end.upstream, work);
      return this.#next(end.closeClient);
    }
    const { log, metrics, settings } = this.#context;
    metrics.upstreamFailed(this.#kind, end.kind);
    if ('reason' in end) log.info('no whole answer from upstream', { route: routeKey(work.route), reason: end.reason });
    if (end.kind === 'broken') this.#socket.destroy();
    else this.#answerError(work.head, failureAnswer(work, end.kind, settings));
  }

  #startTunnel(upstream: UpstreamConnection, first: Buffer | undefined): void {
    if (!this.#heads.isEmpty) {
      this.#context.refusals.note(400, 'bytes before the end of a handshake', this.#arrival.peer);
      upstream.destroy();
      this.#socket.destroy();
      return;
    }
    this.#state = 'tunnel';
    this.#disarm();
    // A tunnel may live for days: nothing of its request's head is kept.
    this.#visitor = undefined;
    this.#work = tunnelWork(this.#currentWork());
    this.#tunnel = openTunnel(this.#socket, upstream, routeKey(this.#work.route), this.#context, () => {
      this.#work = undefined;
    });
    this.#tunnel.start(first);
  }

  /** The head of the final answer, or of a switch of protocols, is about to go out. */
  onExchangeHead(status: number): void {
    this.#countAnswer(this.#currentWork().head, status);
  }

  checkStall(nowMs: number, limits: StallLimits): void {
    this.#exchange?.checkStall(nowMs, limits);
  }

  #countAnswer(head: RequestHead, status: number): void {
    this.#context.metrics.answered(this.#kind, status, performance.now() - this.#startedMs, head.isUpgrade);
  }

  /** Somebody who looks at a page gets the administrator's, or the other hub's. */
  #answerError(head: RequestHead, builtIn: Answer): void {
    if (!isNavigation(head) || builtIn.status < 400) return this.#answer(head, builtIn);
    const answer = this.#context.errors.find(builtIn, head.target);
    if (!(answer instanceof Promise)) return this.#answer(head, answer);
    void answer.then((found) => this.#answer(head, found)); // it never rejects
  }

  #answer(head: RequestHead, answer: Answer): void {
    if (this.#socket.destroyed) return;
    this.#countAnswer(head, answer.status);
    const close = !head.keepAlive || head.isUpgrade || this.#context.isDraining() || this.#body !== undefined;
    this.#socket.write(formatAnswer(answer, { isHead: head.method === 'HEAD', close, hsts: this.#hsts() }));
    this.#next(close);
  }

  #refuse({ status, reason }: Refusal): void {
    this.#context.refusals.note(status, reason, this.#arrival.peer);
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
    this.#heads.releaseIfRoom();
    this.#waitForTurn();
  }

  /** A client that sends ahead, but does not read the answers, would fill the memory with them. */
  #waitForTurn(): void {
    const { bodyMs, idleMs, headMs } = this.#context.edge.timeouts;
    const isBehind = this.#socket.writableNeedDrain;
    this.#arm(isBehind ? bodyMs : this.#heads.isEmpty ? idleMs : headMs);
    this.#isWaiting = isBehind || !this.#heads.isEmpty;
    // Not within this call: a client may have sent thousands of requests ahead.
    if (this.#isWaiting && !isBehind) setImmediate(() => this.#takeTurn());
  }

  #takeTurn(): void {
    this.#isWaiting = false;
    if (this.#state === 'head' && !this.#socket.destroyed) this.#nextHead();
  }

  /** Lets the client read the answer before the connection is reset for what it still sends. */
  #close(): void {
    this.#state = 'closing';
    this.#heads.clear();
    // A slow reader first needs its time for what is written.
    this.#arm(this.#context.edge.timeouts.bodyMs);
    this.#socket.end(() => {
      if (!this.#socket.destroyed) this.#arm(LINGER_CLOSE_MS);
    });
    this.#socket.resume();
  }

  /** As with most proxies, a client that closes its side no longer wants the answer. */
  #onClientEnd(): void {
    if (this.#tunnel !== undefined) this.#tunnel.onClientEnd();
    else this.destroy();
  }

  #onClientDrain(): void {
    this.#exchange?.onClientDrain();
    this.#tunnel?.onClientDrain();
    if (this.#state === 'head' && this.#isWaiting) this.#waitForTurn();
  }

  #arm(milliseconds: number): void {
    this.deadlineMs = this.#context.deadlines.after(milliseconds);
  }

  #disarm(): void {
    this.deadlineMs = Number.POSITIVE_INFINITY;
  }

  onDeadline(): void {
    this.#disarm();
    const isLate = (this.#state === 'head' && !this.#heads.isEmpty) || this.#state === 'busy';
    if (isLate) this.#context.refusals.note(408, 'request not complete in time', this.#arrival.peer);
    if (this.#state === 'head') this.#close();
    else this.#socket.destroy();
  }

  #cleanUp(hadError: boolean): void {
    this.#disarm();
    this.#context.deadlines.delete(this);
    this.#context.work.delete(this);
    this.#state = 'closing';
    if (this.#exchange !== undefined) this.#context.metrics.aborted();
    this.#exchange?.abort();
    this.#tunnel?.onClientClose(hadError);
    this.#kept.leave(this.#context.isDraining() ? undefined : this.#context.pool, this.#arrival.isStream);
  }
}
