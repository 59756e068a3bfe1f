import type { Clock } from '@metalhub/base/time.js';

/** When something last passed on each route, milliseconds since the epoch. */
export class Activity {
  readonly #lastMs = new Map<string, number>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  touch(prefix: string): void {
    this.#lastMs.set(prefix, this.#clock.nowMs());
  }

  /** Forgets routes that are gone. */
  keepOnly(prefixes: ReadonlySet<string>): void {
    for (const prefix of this.#lastMs.keys()) if (!prefixes.has(prefix)) this.#lastMs.delete(prefix);
  }

  list(): { prefix: string; last_ms: number }[] {
    return [...this.#lastMs].map(([prefix, last_ms]) => ({ prefix, last_ms }));
  }
}
