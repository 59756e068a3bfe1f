import type { Log } from '@metalhub/base/log.js';
import type { Clock } from '@metalhub/base/time.js';

const BURST = 10;
const PER_MS = 10_000;

/** One line per refused request, without a byte of it; at most {@link BURST} in ten seconds, then a count. */
export class RefusalLog {
  readonly #log: Log;
  readonly #clock: Clock;
  #windowStartMs = 0;
  #written = 0;
  #suppressed = 0;

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** @param reason text of ours, none of the visitor's */
  note(status: number, reason: string, peer: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#windowStartMs > PER_MS) {
      if (this.#suppressed > 0) this.#log.warning('more requests were refused', { count: this.#suppressed });
      this.#windowStartMs = nowMs;
      this.#written = 0;
      this.#suppressed = 0;
    }
    if (this.#written >= BURST) {
      this.#suppressed++;
      return;
    }
    this.#written++;
    this.#log.warning('request refused', { status, reason, peer });
  }
}
