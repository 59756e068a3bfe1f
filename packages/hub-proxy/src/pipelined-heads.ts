import type { ClientSocket } from './client-socket.js';
import { HeadCollector } from './head-collector.js';

/** More than this is not taken ahead. */
const MAX_PIPELINED_BYTES = 32 * 1024;

/** Heads of a client that may send its next requests before the first one is answered; how much it sends is bounded. */
export class PipelinedHeads extends HeadCollector {
  readonly #socket: ClientSocket;
  #isHeld = false;

  constructor(socket: ClientSocket, maxBytes: number) {
    super(maxBytes);
    this.#socket = socket;
  }

  /** The client has sent more ahead than is taken, and is not read from. */
  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Bytes of a next request wait until this one is answered; before a 101 there must be none. */
  hold(bytes: Buffer): void {
    this.push(bytes);
    if (this.length <= MAX_PIPELINED_BYTES) return;
    this.#isHeld = true;
    this.#socket.pause();
  }

  /** The client is read from again, if there is room. */
  releaseIfRoom(): void {
    if (this.length <= MAX_PIPELINED_BYTES) this.release();
  }

  release(): void {
    this.#isHeld = false;
    if (this.#socket.isPaused()) this.#socket.resume();
  }
}
