import type { Duplex } from 'node:stream';
import { type BodyReader, createBodyReader } from './body-reader.js';
import { type ForwardedBy, formatRequestHead, formatResponseHead } from './forward-head.js';
import { findField, listMembers } from './header-fields.js';
import type { Route } from './proxy-state.js';
import { isRepeatable, type RequestHead } from './request-head.js';
import { MAX_RESPONSE_HEAD_BYTES, parseResponseHead, type ResponseHead } from './response-head.js';
import { passOn } from './shared-reader.js';
import { bytesMoved, type StallLimits, Standstill } from './stall.js';
import type { UpstreamConnection, UpstreamUser } from './upstream-connection.js';

const MAX_INTERIM_ANSWERS = 16;
/** Up to here head and body go out as one text, which costs less than two writes. */
const MAX_JOINED_BYTES = 8 * 1024;

/** What became of a request that was forwarded. */
export type ExchangeEnd =
  /**
   * Answered completely. `upstream` may take another request on the same route: of this login session or, when it is another
   * hub's route, of this client connection.
   */
  | { readonly kind: 'answered'; readonly closeClient: boolean; readonly upstream: UpstreamConnection | undefined }
  | { readonly kind: 'tunnel'; readonly upstream: UpstreamConnection; readonly first: Buffer | undefined }
  /** No connection: nothing of the request was written. */
  | { readonly kind: 'unreachable' }
  /** The upstream ended or sent what is no valid answer, before anything went to the client. */
  | { readonly kind: 'invalid'; readonly reason: string }
  /** The upstream took or sent nothing for long, before anything went to the client. */
  | { readonly kind: 'timeout' }
  /** It ended, sent nonsense or fell silent in the middle of the answer: the client can only be cut off. */
  | { readonly kind: 'broken'; readonly reason: string };

/** Whose request it is. */
export interface ExchangeOwner {
  /** Asked when the answer's head goes out. */
  mustCloseClient(): boolean;
  /**
   * @param mayBeUsed false for a connection that has not carried a request yet
   * @returns `isUsed` when it has: then the server may be closing it just now
   */
  openUpstream(mayBeUsed: boolean): { upstream: UpstreamConnection; isUsed: boolean } | Promise<UpstreamConnection>;
  /** The upstream takes more of the body again. */
  onExchangeDrain(): void;
  onExchangeHead(status: number): void;
  onExchangeEnd(end: ExchangeEnd): void;
}

export interface ExchangeOptions {
  readonly client: Duplex;
  readonly head: RequestHead;
  readonly route: Route;
  readonly by: ForwardedBy;
  readonly setCookies: readonly string[];
  /** Strict-Transport-Security for the answer. */
  readonly hsts: string | undefined;
}

/** Forwards one request and its answer. The request's body is pushed in, already checked. */
export class Exchange implements UpstreamUser {
  readonly #options: ExchangeOptions;
  readonly #owner: ExchangeOwner;
  #upstream: UpstreamConnection | undefined;
  #isUpstreamUsed = false;
  #waitingBody: Buffer[] | undefined;
  #isBodyDone = false;
  #received: Buffer | undefined;
  #hasReceived = false;
  #answer: ResponseHead | undefined;
  #reader: BodyReader | undefined;
  #interimAnswers = 0;
  #isOver = false;
  #closesClient = false;
  #standstill: Standstill | undefined;

  constructor(owner: ExchangeOwner, options: ExchangeOptions) {
    this.#owner = owner;
    this.#options = options;
  }

  /** @param body what is there of it already, checked */
  start(body: readonly Buffer[], isBodyDone: boolean): void {
    this.#isBodyDone = isBodyDone;
    if (body.length > 0) this.#waitingBody = [...body];
    this.#open(true);
  }

  #open(mayBeUsed: boolean): void {
    const opened = this.#owner.openUpstream(mayBeUsed);
    if (!(opened instanceof Promise)) {
      this.#isUpstreamUsed = opened.isUsed;
      return this.#begin(opened.upstream);
    }
    this.#isUpstreamUsed = false;
    opened.then(
      (upstream) => (this.#isOver ? upstream.destroy() : this.#begin(upstream)),
      () => this.#end({ kind: 'unreachable' }),
    );
  }

  /**
   * @param isBorrowed as in {@link UpstreamUser}
   * @returns false when no more should come before the owner is told of a drain
   */
  pushBody(pieces: readonly Buffer[], isDone: boolean, isBorrowed: boolean): boolean {
    if (isDone) this.#isBodyDone = true;
    if (this.#upstream === undefined) {
      const owned = isBorrowed ? pieces.map((piece) => Buffer.from(piece)) : pieces;
      this.#waitingBody = [...(this.#waitingBody ?? []), ...owned];
      return isDone;
    }
    const { stream } = this.#upstream;
    let isFlowing = true;
    for (const piece of pieces) {
      if (stream.writable) isFlowing = isBorrowed ? passOn(stream, piece) : stream.write(piece);
    }
    return isFlowing;
  }

  /** Gives up an upstream that stands still, or a client that does not read; called every few seconds. */
  checkStall(nowMs: number, limits: StallLimits): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#standstill ??= new Standstill();
    const silentMs = this.#standstill.look(bytesMoved(this.#options.client) + bytesMoved(upstream.stream), nowMs);
    const hasBegun = this.#answer !== undefined;
    const answerMs = this.#options.by.isHub ? limits.hubAnswerMs : limits.answerMs;
    if (silentMs < (hasBegun ? limits.streamMs : answerMs)) return;
    this.#upstream = undefined;
    upstream.destroy();
    this.#end(hasBegun ? { kind: 'broken', reason: 'nothing moved for long' } : { kind: 'timeout' });
  }

  /** The client is gone, or the route is: the upstream connection is of no more use. */
  abort(): void {
    this.#isOver = true;
    this.#upstream?.destroy();
    this.#upstream = undefined;
  }

  /** The client takes more of the answer again. */
  onClientDrain(): void {
    this.#upstream?.resume();
  }

  #begin(upstream: UpstreamConnection): void {
    const { head, route, by } = this.#options;
    const { stream } = upstream;
    const body = this.#waitingBody;
    this.#upstream = upstream;
    this.#waitingBody = undefined;
    upstream.use(this);
    const text = formatRequestHead(head, route, by);
    if (body === undefined) stream.write(text, 'latin1');
    else {
      stream.cork();
      stream.write(text, 'latin1');
      for (const piece of body) stream.write(piece);
      stream.uncork();
    }
    if (!this.#isBodyDone && !stream.writableNeedDrain) this.#owner.onExchangeDrain();
  }

  onUpstreamData(chunk: Buffer, isBorrowed: boolean): void {
    this.#hasReceived = true;
    if (this.#reader !== undefined) return this.#passBody(chunk, isBorrowed);
    const received = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk]);
    this.#received = undefined;
    const end = received.indexOf('\r\n\r\n', 0, 'latin1');
    if (end > MAX_RESPONSE_HEAD_BYTES || (end < 0 && received.length > MAX_RESPONSE_HEAD_BYTES)) {
      return this.#fail('answer head too large');
    }
    if (end < 0) {
      this.#received = isBorrowed ? Buffer.from(received) : received;
      return;
    }
    const head = parseResponseHead(received.toString('latin1', 0, end), this.#options.head.method);
    if (typeof head === 'string') return this.#fail(head);
    this.#takeHead(head, received.subarray(end + 4), isBorrowed);
  }

  #takeHead(head: ResponseHead, rest: Buffer, isBorrowed: boolean): void {
    const { client, route, by } = this.#options;
    if (head.status === 101) return this.#switch(head, rest);
    if (head.status < 200) {
      if (++this.#interimAnswers > MAX_INTERIM_ANSWERS) return this.#fail('too many interim answers');
      const isKnown = this.#options.head.version === '1.1';
      if (isKnown) client.write(formatResponseHead(head, route, by.isHub, { closeClient: false }), 'latin1');
      if (rest.length > 0) this.onUpstreamData(rest, isBorrowed);
      return;
    }
    const isOldClient = this.#options.head.version === '1.0';
    const unchunk = isOldClient && head.framing.kind === 'chunked';
    // A failed upgrade leaves both ends unsure of what comes next (security.md P07).
    this.#closesClient =
      head.framing.kind === 'close' ||
      unchunk ||
      !this.#isBodyDone ||
      this.#options.head.isUpgrade ||
      this.#owner.mustCloseClient();
    this.#answer = head;
    this.#owner.onExchangeHead(head.status);
    const { setCookies, hsts } = this.#options;
    const options = { closeClient: this.#closesClient, setCookies, hsts, unchunk };
    const text = formatResponseHead(head, route, by.isHub, options);
    const { framing } = head;
    const length = framing.kind === 'length' ? framing.length : framing.kind === 'none' ? 0 : -1;
    if (rest.length === length && length <= MAX_JOINED_BYTES) {
      client.write(length === 0 ? text : text + rest.toString('latin1'), 'latin1');
      return this.#answered(true);
    }
    this.#reader = createBodyReader(framing, { payloadOnly: unchunk });
    client.cork();
    client.write(text, 'latin1');
    this.#passBody(rest, isBorrowed);
    client.uncork();
  }

  #switch(head: ResponseHead, rest: Buffer): void {
    const { client, route, by, setCookies } = this.#options;
    const isUpgrade =
      this.#options.head.isUpgrade &&
      findField(head.fields, 'upgrade')?.toLowerCase() === 'websocket' &&
      listMembers(findField(head.fields, 'connection') ?? '').includes('upgrade') &&
      findField(head.fields, 'sec-websocket-accept') !== undefined;
    const upstream = this.#upstream;
    if (!isUpgrade || upstream === undefined) return this.#fail('switch of protocols that was not asked for');
    this.#owner.onExchangeHead(head.status);
    client.write(formatResponseHead(head, route, by.isHub, { closeClient: false, setCookies }), 'latin1');
    this.#upstream = undefined;
    this.#end({ kind: 'tunnel', upstream, first: rest.length > 0 ? Buffer.from(rest) : undefined });
  }

  #passBody(chunk: Buffer, isBorrowed: boolean): void {
    const reader = this.#reader;
    if (reader === undefined || this.#isOver) return;
    const { client } = this.#options;
    const { out, rest, error } = reader.push(chunk);
    if (error !== undefined) return this.#fail(error);
    let isFlowing = true;
    for (const piece of out) isFlowing = isBorrowed ? passOn(client, piece) : client.write(piece);
    if (reader.done) this.#answered(rest === undefined);
    else if (!isFlowing) this.#upstream?.pause();
  }

  #answered(isClean: boolean): void {
    const upstream = this.#upstream;
    this.#upstream = undefined;
    const isReusable =
      isClean &&
      this.#isBodyDone &&
      this.#answer?.keepAlive === true &&
      !this.#options.by.closeUpstream &&
      upstream?.isUsable === true;
    // Surplus bytes must never meet the next request (security.md P14).
    if (isReusable) upstream.release();
    else upstream?.destroy();
    this.#end({ kind: 'answered', closeClient: this.#closesClient, upstream: isReusable ? upstream : undefined });
  }

  onUpstreamEnd(): void {
    if (this.#answer?.framing.kind === 'close') this.#answered(false);
    else this.onUpstreamClose();
  }

  onUpstreamClose(): void {
    if (this.#isOver) return;
    if (this.#mayAskAgain()) {
      this.#upstream?.destroy();
      this.#upstream = undefined;
      return this.#open(false);
    }
    this.#fail('the connection ended before the answer did');
  }

  /** A server may close a connection that was idle in the very moment when a request goes out; others are never repeated. */
  #mayAskAgain(): boolean {
    return this.#isUpstreamUsed && !this.#hasReceived && isRepeatable(this.#options.head);
  }

  onUpstreamDrain(): void {
    if (!this.#isBodyDone) this.#owner.onExchangeDrain();
  }

  #fail(reason: string): void {
    const hasBegun = this.#answer !== undefined;
    this.#upstream?.destroy();
    this.#upstream = undefined;
    this.#end({ kind: hasBegun ? 'broken' : 'invalid', reason });
  }

  #end(end: ExchangeEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owner.onExchangeEnd(end);
  }
}
