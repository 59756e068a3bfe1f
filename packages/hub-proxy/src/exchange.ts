import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type BodyReader, createBodyReader } from './body-reader.js';
import { type ForwardedBy, formatRequestHead, formatResponseHead } from './forward-head.js';
import { findField, listMembers } from './header-fields.js';
import type { Route } from './proxy-state.js';
import type { RequestHead } from './request-head.js';
import { MAX_RESPONSE_HEAD_BYTES, parseResponseHead, type ResponseHead } from './response-head.js';
import { ANSWER_TIMEOUT_MS, bytesMoved, STREAM_TIMEOUT_MS, Standstill } from './stall.js';

const MAX_INTERIM_ANSWERS = 16;

/** What became of a request that was forwarded. */
export type ExchangeEnd =
  /** Answered completely. `upstream` may take this client's next request on the same route. */
  | { readonly kind: 'answered'; readonly closeClient: boolean; readonly upstream: Duplex | undefined }
  | { readonly kind: 'tunnel'; readonly upstream: Duplex; readonly first: Buffer | undefined }
  /** No connection: nothing of the request was written. */
  | { readonly kind: 'unreachable' }
  /** The upstream ended or sent what is no valid answer, before anything went to the client. */
  | { readonly kind: 'invalid'; readonly reason: string }
  /** The upstream took or sent nothing for long, before anything went to the client. */
  | { readonly kind: 'timeout' }
  /** It ended, sent nonsense or fell silent in the middle of the answer: the client can only be cut off. */
  | { readonly kind: 'broken'; readonly reason: string };

export interface ExchangeOptions {
  readonly client: Socket;
  readonly head: RequestHead;
  readonly route: Route;
  readonly by: ForwardedBy;
  readonly setCookies: readonly string[];
  /** Asked when the answer's head goes out. */
  readonly mustCloseClient: () => boolean;
  /** The connection has a listener for errors of its own: without one an error would end the process. */
  readonly open: () => Promise<Duplex> | Duplex;
  /** The upstream takes more of the body again. */
  readonly onDrain: () => void;
  /** The head of the final answer, or of a switch of protocols, is about to go out. */
  readonly onHead: (status: number) => void;
  readonly onEnd: (end: ExchangeEnd) => void;
}

/** Forwards one request and its answer. The request's body is pushed in, already checked. */
export class Exchange {
  readonly #options: ExchangeOptions;
  #upstream: Duplex | undefined;
  #waitingBody: Buffer[] = [];
  #isBodyDone = false;
  #received: Buffer | undefined;
  #answer: ResponseHead | undefined;
  #reader: BodyReader | undefined;
  #interimAnswers = 0;
  #isOver = false;
  #closesClient = false;
  #standstill: Standstill | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  start(): void {
    const upstream = this.#options.open();
    if (!(upstream instanceof Promise)) return this.#begin(upstream);
    upstream.then(
      (duplex) => (this.#isOver ? void duplex.destroy() : this.#begin(duplex)),
      () => this.#end({ kind: 'unreachable' }),
    );
  }

  /** @returns false when no more should come before `onDrain` */
  pushBody(pieces: readonly Buffer[], isDone: boolean): boolean {
    if (isDone) this.#isBodyDone = true;
    if (this.#upstream === undefined) {
      this.#waitingBody.push(...pieces);
      return isDone;
    }
    let isFlowing = true;
    for (const piece of pieces) if (this.#upstream.writable) isFlowing = this.#upstream.write(piece);
    return isFlowing;
  }

  /** Gives up an upstream that stands still, or a client that does not read; called every few seconds. */
  checkStall(nowMs: number): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#standstill ??= new Standstill();
    const silentMs = this.#standstill.look(bytesMoved(this.#options.client) + bytesMoved(upstream), nowMs);
    const hasBegun = this.#reader !== undefined;
    if (silentMs < (hasBegun ? STREAM_TIMEOUT_MS : ANSWER_TIMEOUT_MS)) return;
    this.#release();
    upstream.destroy();
    this.#end(hasBegun ? { kind: 'broken', reason: 'nothing moved for long' } : { kind: 'timeout' });
  }

  /** The client is gone, or the route is: the upstream connection is of no more use. */
  abort(): void {
    this.#isOver = true;
    this.#upstream?.destroy();
  }

  #begin(upstream: Duplex): void {
    const { head, route, by } = this.#options;
    this.#upstream = upstream;
    upstream.on('data', this.#onData);
    upstream.on('end', this.#onUpstreamEnd);
    upstream.on('close', this.#onUpstreamLost);
    upstream.on('error', this.#onUpstreamLost);
    upstream.on('drain', this.#onUpstreamDrain);
    upstream.cork();
    upstream.write(formatRequestHead(head, route, by), 'latin1');
    for (const piece of this.#waitingBody) upstream.write(piece);
    upstream.uncork();
    this.#waitingBody = [];
    this.#options.client.on('drain', this.#onClientDrain);
    if (!this.#isBodyDone && !upstream.writableNeedDrain) this.#options.onDrain();
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#reader !== undefined) return this.#passBody(chunk);
    const received = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk]);
    this.#received = undefined;
    const end = received.indexOf('\r\n\r\n');
    if (end > MAX_RESPONSE_HEAD_BYTES || (end < 0 && received.length > MAX_RESPONSE_HEAD_BYTES)) {
      return this.#fail('answer head too large');
    }
    if (end < 0) {
      this.#received = received;
      return;
    }
    const head = parseResponseHead(received.toString('latin1', 0, end), this.#options.head.method);
    if (typeof head === 'string') return this.#fail(head);
    this.#takeHead(head, received.subarray(end + 4));
  };

  #takeHead(head: ResponseHead, rest: Buffer): void {
    const { client, route, by } = this.#options;
    if (head.status === 101) return this.#switch(head, rest);
    if (head.status < 200) {
      if (++this.#interimAnswers > MAX_INTERIM_ANSWERS) return this.#fail('too many interim answers');
      const isKnown = this.#options.head.version === '1.1';
      if (isKnown) client.write(formatResponseHead(head, route, by.isHub, { closeClient: false }), 'latin1');
      if (rest.length > 0) this.#onData(rest);
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
      this.#options.mustCloseClient();
    this.#answer = head;
    this.#options.onHead(head.status);
    this.#reader = createBodyReader(head.framing, { payloadOnly: unchunk });
    const options = { closeClient: this.#closesClient, setCookies: this.#options.setCookies, unchunk };
    client.cork();
    client.write(formatResponseHead(head, route, by.isHub, options), 'latin1');
    this.#passBody(rest);
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
    this.#options.onHead(head.status);
    client.write(formatResponseHead(head, route, by.isHub, { closeClient: false, setCookies }), 'latin1');
    this.#release();
    this.#end({ kind: 'tunnel', upstream, first: rest.length > 0 ? rest : undefined });
  }

  #passBody(chunk: Buffer): void {
    const reader = this.#reader;
    if (reader === undefined || this.#isOver) return;
    const { out, rest, error } = reader.push(chunk);
    if (error !== undefined) return this.#fail(error);
    let isFlowing = true;
    for (const piece of out) isFlowing = this.#options.client.write(piece);
    if (reader.done) this.#answered(rest === undefined);
    else if (!isFlowing) this.#upstream?.pause();
  }

  #answered(isClean: boolean): void {
    const upstream = this.#upstream;
    this.#release();
    const isReusable =
      isClean && this.#isBodyDone && this.#answer?.keepAlive === true && !this.#options.by.closeUpstream;
    // Surplus bytes must never meet the next request (security.md P14).
    if (!isReusable) upstream?.destroy();
    this.#end({ kind: 'answered', closeClient: this.#closesClient, upstream: isReusable ? upstream : undefined });
  }

  readonly #onUpstreamEnd = (): void => {
    if (this.#isOver) return;
    if (this.#answer?.framing.kind === 'close') this.#answered(false);
    else this.#onUpstreamLost();
  };

  readonly #onUpstreamLost = (): void => {
    if (!this.#isOver) this.#fail('the connection ended before the answer did');
  };

  readonly #onUpstreamDrain = (): void => {
    if (!this.#isBodyDone) this.#options.onDrain();
  };

  readonly #onClientDrain = (): void => void this.#upstream?.resume();

  #fail(reason: string): void {
    const hasBegun = this.#reader !== undefined;
    const upstream = this.#upstream;
    this.#release();
    upstream?.destroy();
    this.#end({ kind: hasBegun ? 'broken' : 'invalid', reason });
  }

  #release(): void {
    this.#options.client.off('drain', this.#onClientDrain);
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    upstream.off('data', this.#onData);
    upstream.off('end', this.#onUpstreamEnd);
    upstream.off('close', this.#onUpstreamLost);
    upstream.off('error', this.#onUpstreamLost);
    upstream.off('drain', this.#onUpstreamDrain);
    upstream.pause();
    this.#upstream = undefined;
  }

  #end(end: ExchangeEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.onEnd(end);
  }
}
