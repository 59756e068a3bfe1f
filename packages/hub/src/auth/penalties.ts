import type { Clock } from '@metalhub/base/time.js';

/** OpenSSH's shape (sshd_config(5), PerSourcePenalties): failures add up, and count only once enough have. */
export interface PenaltyRules {
  readonly perFailureMs: number;
  /** Attempts are refused from this sum on, until all of it has passed. */
  readonly enforceFromMs: number;
  readonly capMs: number;
  readonly maxEntries: number;
}

interface Penalty {
  /** On the monotonic clock, so that a jump of the wall clock neither frees nor locks anybody. */
  endsMs: number;
  isEnforced: boolean;
}

export interface PenaltySnapshot {
  subject: string;
  remainingMs: number;
  isEnforced: boolean;
}

/** Penalties of one kind of subject: names, or addresses. */
export class Penalties {
  readonly #rules: PenaltyRules;
  readonly #clock: Clock;
  readonly #bySubject = new Map<string, Penalty>();

  constructor(rules: PenaltyRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
  }

  get size(): number {
    return this.#bySubject.size;
  }

  /** Milliseconds for which attempts are refused; 0 when they are not. */
  blockedForMs(subject: string): number {
    const penalty = this.#find(subject);
    return penalty?.isEnforced === true ? penalty.endsMs - this.#clock.monotonicMs() : 0;
  }

  /** Counts a failure. @returns true when attempts are refused from now on and were not before */
  add(subject: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#find(subject);
    const endsMs = Math.min((before?.endsMs ?? nowMs) + this.#rules.perFailureMs, nowMs + this.#rules.capMs);
    const isEnforced = before?.isEnforced === true || endsMs - nowMs >= this.#rules.enforceFromMs;
    this.#put(subject, { endsMs, isEnforced });
    return isEnforced && before?.isEnforced !== true;
  }

  forgive(subject: string): void {
    this.#bySubject.delete(subject);
  }

  /** The heaviest first, at most `max`. */
  snapshot(max: number): PenaltySnapshot[] {
    const nowMs = this.#clock.monotonicMs();
    return Array.from(this.#bySubject, ([subject, { endsMs, isEnforced }]) => {
      return { subject, remainingMs: endsMs - nowMs, isEnforced };
    })
      .filter(({ remainingMs }) => remainingMs > 0)
      .sort((a, b) => b.remainingMs - a.remainingMs)
      .slice(0, max);
  }

  restore(snapshot: readonly PenaltySnapshot[]): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { subject, remainingMs, isEnforced } of snapshot) {
      if (remainingMs > 0) this.#put(subject, { endsMs: nowMs + Math.min(remainingMs, this.#rules.capMs), isEnforced });
    }
  }

  #find(subject: string): Penalty | undefined {
    const penalty = this.#bySubject.get(subject);
    if (penalty === undefined || penalty.endsMs > this.#clock.monotonicMs()) return penalty;
    this.#bySubject.delete(subject);
    return undefined;
  }

  /** The least recently counted goes when the table is full: memory is bounded before fairness. */
  #put(subject: string, penalty: Penalty): void {
    this.#bySubject.delete(subject);
    this.#bySubject.set(subject, penalty);
    if (this.#bySubject.size <= this.#rules.maxEntries) return;
    const [oldest] = this.#bySubject.keys();
    if (oldest !== undefined) this.#bySubject.delete(oldest);
  }
}
