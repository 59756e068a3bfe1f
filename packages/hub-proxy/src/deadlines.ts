const TICK_MS = 500;

/** Something that is to end when its time has come. */
export interface Expiring {
  /** Of the clock of {@link Deadlines}; infinite for none. */
  readonly deadlineMs: number;
  onDeadline(): void;
}

/**
 * Deadlines of very many connections, looked at twice a second by one timer: a timer for each would be set and cleared
 * several times per request. Nothing expires early, and nothing more than a second late.
 */
export class Deadlines {
  readonly #items = new Set<Expiring>();
  #timer: NodeJS.Timeout | undefined;
  #nowMs = performance.now();

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
    this.#nowMs = performance.now();
    this.#timer = setInterval(() => this.#look(), TICK_MS).unref();
  }

  delete(item: Expiring): void {
    this.#items.delete(item);
  }

  #look(): void {
    this.#nowMs = performance.now();
    for (const item of this.#items) if (item.deadlineMs <= this.#nowMs) item.onDeadline();
    if (this.#items.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
