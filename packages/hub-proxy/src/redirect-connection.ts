import type { Socket } from 'node:net';
import { plainAddress } from './address-ranges.js';
import { HeadCollector } from './head-collector.js';
import type { OpenConnection } from './open-connection.js';
import { formatAnswer } from './own-answer.js';
import { type Answer, jsonAnswer } from './pages.js';
import { isRefusal, parseRequestHead, type RequestHead } from './request-head.js';
import type { WorkerContext } from './worker-context.js';

const LINGER_MS = 2000;

/** A connection to an address that only says where the real one is. Nothing is forwarded, one request is answered. */
export class RedirectConnection implements OpenConnection {
  readonly #socket: Socket;
  readonly #context: WorkerContext;
  readonly #heads: HeadCollector;
  #timer: NodeJS.Timeout;

  constructor(socket: Socket, context: WorkerContext) {
    this.#socket = socket;
    this.#context = context;
    this.#heads = new HeadCollector(context.edge.maxHeadBytes);
    this.#timer = setTimeout(() => socket.destroy(), context.edge.timeouts.headMs);
    socket.on('data', this.#onData);
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy());
    socket.once('close', () => clearTimeout(this.#timer));
  }

  /** It ends within seconds anyway. */
  closeIfIdle(): void {}

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#heads.push(chunk);
    const found = this.#heads.take();
    if (found === undefined) return;
    const head = 'status' in found ? found : parseRequestHead(found.head, this.#context.edge.maxHeadFields);
    this.#socket.off('data', this.#onData);
    this.#socket.resume();
    if (isRefusal(head)) this.#refuse(head.status, head.reason);
    else if (!this.#context.hosts.has(head.host.name)) this.#refuse(421, 'unknown host');
    else this.#answer(redirectAnswer(head, this.#context.settings.public_origin), head.method === 'HEAD');
  };

  #refuse(status: number, reason: string): void {
    this.#context.refusals.note(status, reason, plainAddress(this.#socket.remoteAddress ?? 'unknown'));
    this.#answer(jsonAnswer(status, 'the request was not understood'), false);
  }

  #answer(answer: Answer, isHead: boolean): void {
    this.#socket.end(formatAnswer(answer, { isHead, close: true }));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
  }
}

/** What was sent with another method has crossed the network in the clear already: better nobody gets used to it. */
export function redirectAnswer(head: RequestHead, publicOrigin: string): Answer {
  if (head.method !== 'GET' && head.method !== 'HEAD') return jsonAnswer(403, `use ${publicOrigin}`);
  const url = new URL(publicOrigin);
  const origin = `https://${head.host.name}${url.port === '' ? '' : `:${url.port}`}`;
  return { status: 301, fields: [['Location', `${origin}${head.target}`]], body: '' };
}
