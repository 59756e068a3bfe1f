import { type Clock, MINUTE_MS } from '@metalhub/base/time.js';
import { sourceOf } from './connection-limit.js';

const MAX_SOURCES = 65_536;
/** So many minutes' worth may come at once: a class that begins. */
const BURST_MINUTES = 2;

interface Bucket {
  left: number;
  atMs: number;
}

/** Limits login forms per source before they reach the hub; each source has a bucket that fills up evenly. */
export class LoginRate {
  readonly #perMinute: number;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(perMinute: number, clock: Clock) {
    this.#perMinute = perMinute;
    this.#clock = clock;
  }

  /** @returns false when it is one too many; seconds to wait are in {@link retryAfterSec} */
  take(address: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const source = sourceOf(address);
    const burst = this.#perMinute * BURST_MINUTES;
    const bucket = this.#buckets.get(source) ?? { left: burst, atMs: nowMs };
    const left = Math.min(burst, bucket.left + ((nowMs - bucket.atMs) * this.#perMinute) / MINUTE_MS);
    // Moved to the end: the first entries are the longest unused.
    this.#buckets.delete(source);
    this.#buckets.set(source, { left: left >= 1 ? left - 1 : left, atMs: nowMs });
    if (this.#buckets.size > MAX_SOURCES) this.#forgetOldest();
    return left >= 1;
  }

  get retryAfterSec(): number {
    return Math.max(1, Math.ceil(60 / this.#perMinute));
  }

  #forgetOldest(): void {
    const [oldest] = this.#buckets.keys();
    if (oldest !== undefined) this.#buckets.delete(oldest);
  }
}
