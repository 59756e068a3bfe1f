import { type Clock, DAY_MS } from '@metalhub/base/time.js';

/** Beyond this it is not a jump but the first right time after a boot without one. */
const MAX_DRIFT_MS = 2 * DAY_MS;

/**
 * Wall time that does not jump: the wall clock at the start plus what has passed since.
 *
 * Expiry is judged by it, so that setting the machine's clock by a day, forth or back, neither ends sessions nor
 * revives one.
 */
export function steadyNow(clock: Clock): () => number {
  let offsetMs = clock.nowMs() - clock.monotonicMs();
  return () => {
    const driftMs = clock.nowMs() - clock.monotonicMs() - offsetMs;
    if (Math.abs(driftMs) > MAX_DRIFT_MS) offsetMs += driftMs;
    return Math.round(offsetMs + clock.monotonicMs());
  };
}
