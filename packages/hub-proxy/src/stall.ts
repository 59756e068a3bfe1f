import { HOUR_MS, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';

/** How long neither side of a request may move a byte before it is given up, in milliseconds. */
export interface StallLimits {
  /** While there is no answer: a server of a user may compute for minutes. */
  readonly answerMs: number;
  /**
   * The same for the hub. When it cannot start its visitors are left in its socket's backlog, and are told instead. Above
   * what a login may take that asks a slow directory.
   */
  readonly hubAnswerMs: number;
  /** In the middle of an answer: event streams may say nothing for long. */
  readonly streamMs: number;
}
export const DEFAULT_STALL_LIMITS: StallLimits = {
  answerMs: 10 * MINUTE_MS,
  hubAnswerMs: 20 * SECOND_MS,
  streamMs: HOUR_MS,
};
/** How often is looked; no timer is set per request. */
export const STALL_SWEEP_MS = 5000;

/** For how long a number that grows with every byte has stood still. */
export class Standstill {
  #moved = -1;
  #sinceMs = 0;

  /** @returns milliseconds, as far as can be told from the calls */
  look(moved: number, nowMs: number): number {
    if (moved !== this.#moved) {
      this.#moved = moved;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs;
  }
}

/** Bytes that passed a connection both ways; 0 for what does not count, such as a stream inside this process. */
export function bytesMoved(stream: object): number {
  return receivedBytes(stream) + sentBytes(stream);
}

export function receivedBytes(stream: object): number {
  return 'bytesRead' in stream && typeof stream.bytesRead === 'number' ? stream.bytesRead : 0;
}

export function sentBytes(stream: object): number {
  return 'bytesWritten' in stream && typeof stream.bytesWritten === 'number' ? stream.bytesWritten : 0;
}
