import type { Clock } from '@metalhub/base/time.js';

/**
 * Wall time that does not jump: the wall clock at the start plus what has passed since.
 *
 * Expiry is judged by it, so that setting the machine's clock, forth or back, neither ends sessions nor revives one.
 */
export function steadyNow(clock: Clock): () => number {
  const offsetMs = clock.nowMs() - clock.monotonicMs();
  return () => Math.round(offsetMs + clock.monotonicMs());
}
