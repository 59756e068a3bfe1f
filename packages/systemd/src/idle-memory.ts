import { libcFunction } from './native.js';

const TICK_MS = 10_000;
/** A tick in which the process computed less than this, 1 %, is a quiet one. */
const QUIET_CPU_MS = 100;
/** Less work than this leaves nothing behind that is worth a collection. */
const WORTHWHILE_CPU_MS = 300;
/** After a collection V8 goes on to give back memory for 20 s by itself; what malloc then holds can go too. */
const TICKS_UNTIL_TRIM = 2;

export type IdleStep = 'collect' | 'trim' | undefined;

/** What to do at each tick, from the CPU time that the process has used so far. Pure. */
export class IdlePolicy {
  #lastCpuMs = 0;
  #workMs = 0;
  #trimIn: number | undefined;

  /** @param cpuMs of the process since its start, user and system */
  next(cpuMs: number): IdleStep {
    const usedMs = cpuMs - this.#lastCpuMs;
    this.#lastCpuMs = cpuMs;
    this.#workMs += usedMs;
    if (usedMs >= QUIET_CPU_MS) {
      this.#trimIn = undefined;
      return undefined;
    }
    if (this.#workMs >= WORTHWHILE_CPU_MS) {
      this.#workMs = 0;
      this.#trimIn = TICKS_UNTIL_TRIM;
      return 'collect';
    }
    if (this.#trimIn === undefined) return undefined;
    this.#trimIn -= 1;
    if (this.#trimIn > 0) return undefined;
    this.#trimIn = undefined;
    return 'trim';
  }
}

const mallocTrim = libcFunction<[number], number>('malloc_trim', 'int', ['size_t']);

/**
 * Gives back what a burst of work left behind once the process has become quiet: V8 and malloc keep it otherwise, for
 * good when nothing more is asked of them. Never while there is work. Needs `--expose-gc`; trims only without.
 */
export function releaseMemoryWhenIdle(): void {
  const policy = new IdlePolicy();
  setInterval(() => {
    const { user, system } = process.cpuUsage();
    const step = policy.next((user + system) / 1000);
    if (step === 'collect') globalThis.gc?.();
    else if (step === 'trim') mallocTrim(0);
  }, TICK_MS).unref();
}
