import type { Clock } from '@metalhub/base/time.js';

/** When something last passed on each route, milliseconds since the epoch. */
export class Activity {
  readonly #lastMs = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param key of the route */
  touch(key: string): void {
    this.#lastMs.set(key, this.#clock.nowMs());
  }

  /** Forgets routes that are gone. Whoever still had one open touches it once more while that is being closed. */
  keepOnly(isThere: (key: string) => boolean): void {
    for (const key of this.#lastMs.keys()) if (!isThere(key)) this.#lastMs.delete(key);
  }

  list(): { prefix: string; last_ms: number }[] {
    return [...this.#lastMs].map(([key, last_ms]) => ({ prefix: key, last_ms }));
  }
}
