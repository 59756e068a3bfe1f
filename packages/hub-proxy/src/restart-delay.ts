import { SECOND_MS } from '@metalhub/base/time.js';

const QUICK_DEATH_MS = 10 * SECOND_MS;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5 * SECOND_MS;

/** When to start the next worker: at once, unless they keep dying. */
export class RestartDelay {
  #quickDeaths = 0;

  /** @param livedMs how long the one that is gone accepted connections; 0 when it could not be started */
  nextMs(livedMs: number): number {
    this.#quickDeaths = livedMs < QUICK_DEATH_MS ? this.#quickDeaths + 1 : 0;
    if (this.#quickDeaths <= 1) return 0;
    return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.#quickDeaths - 2));
  }
}
