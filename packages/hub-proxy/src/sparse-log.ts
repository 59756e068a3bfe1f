import type { Log, LogFields } from '@metalhub/base/log.js';
import { type Clock, MINUTE_MS } from '@metalhub/base/time.js';

/** For what fails again and again for the same reason: one line at once, then at most one a minute, which says how many it stands for. */
export class SparseLog {
  readonly #log: Log;
  readonly #clock: Clock;
  #nextMs = Number.NEGATIVE_INFINITY;
  #leftOut = 0;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  error(message: string, fields: LogFields): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < this.#nextMs) {
      this.#leftOut++;
      return;
    }
    this.#log.error(message, { ...fields, ...(this.#leftOut > 0 && { left_out: this.#leftOut }) });
    this.#nextMs = nowMs + MINUTE_MS;
    this.#leftOut = 0;
  }
}
