/** Where time comes from, so that tests can make it jump. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch: for what is stored and shown. */
  nowMs(): number;
  /** Monotonic milliseconds from an arbitrary start: for durations and time-outs. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};

export const SECOND_MS = 1000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
