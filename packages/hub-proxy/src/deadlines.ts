const TICK_MS = 500;
/** Between two looks no more time passes than this. */
const MAX_STEP_MS = 2 * TICK_MS;

/** Something that is to end when its time has come. */
export interface Expiring {
  /** Of the clock of {@link Deadlines}; infinite for none. */
  readonly deadlineMs: number;
  onDeadline(): void;
}

/**
 * Deadlines of very many connections, looked at twice a second by one timer: a timer for each would be set and cleared
 * several times per request. Nothing expires early, and nothing more than a second late.
 *
 * Time in which this process stood still, stopped or starved, does not count: what clients sent meanwhile has not been read
 * yet, and timers come before reading. Without this their requests would be closed upon, unread.
 */
export class Deadlines {
  readonly #items = new Set<Expiring>();
  #timer: NodeJS.Timeout | undefined;
  #nowMs = 0;
  #lookedMs = performance.now();

  /** The time of the last look: good enough for what is coarse, and free. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** When something that begins now and takes so long has to be over. */
  after(milliseconds: number): number {
    return this.#nowMs + milliseconds + TICK_MS;
  }

  add(item: Expiring): void {
    this.#items.add(item);
    if (this.#timer !== undefined) return;
    this.#lookedMs = performance.now();
    this.#timer = setInterval(() => this.#look(), TICK_MS).unref();
  }

  delete(item: Expiring): void {
    this.#items.delete(item);
  }

  #look(): void {
    const realMs = performance.now();
    this.#nowMs += Math.min(MAX_STEP_MS, realMs - this.#lookedMs);
    this.#lookedMs = realMs;
    for (const item of this.#items) if (item.deadlineMs <= this.#nowMs) item.onDeadline();
    if (this.#items.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
