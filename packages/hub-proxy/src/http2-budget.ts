import { SECOND_MS } from '@metalhub/base/time.js';

/** Also what is on its way to requests that were refused: the windows allow a megabyte of that at once. */
const BURST_BYTES = 4 * 1024 * 1024;
const BYTES_PER_SEC = 64 * 1024;
/** What a frame takes besides its bytes: memory while it waits, and time. */
const FRAME_BYTES = 100;

/** Of a connection since its beginning. */
export interface Http2Traffic {
  /** All bytes that have come. */
  readonly received: number;
  /** Of requests that were understood, of their bodies, and of answers that were taken. */
  readonly useful: number;
  /** In which the bodies came. */
  readonly frames: number;
}

/**
 * How much a client of HTTP/2 may send that is of no use: PING, SETTINGS, PRIORITY, windows that grow byte by byte, heads
 * that are too large, and whatever else costs work and is neither a request nor its body. The library limits some of it,
 * each in a way of its own, and some not at all.
 *
 * Each byte of use allows another one without: frames have heads, and who reads grants windows.
 */
export class Http2Budget {
  #left = BURST_BYTES;
  #before = 0;
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** Asked now and then. @returns false when it is spent */
  allows({ received, useful, frames }: Http2Traffic, nowMs: number): boolean {
    const spent = received + frames * FRAME_BYTES - 2 * useful;
    const gained = ((nowMs - this.#atMs) / SECOND_MS) * BYTES_PER_SEC;
    this.#left = Math.min(BURST_BYTES, this.#left + gained - (spent - this.#before));
    this.#before = spent;
    this.#atMs = nowMs;
    return this.#left >= 0;
  }
}
