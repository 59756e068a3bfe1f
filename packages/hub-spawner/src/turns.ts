/** Runs an action when those before it have ended, whatever became of them. Who waits can leave: then it never runs. */
export type InTurn = <T>(action: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

export function createTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (action, signal) => {
    const before = last;
    const result = (signal === undefined ? before : Promise.race([rejectedBy(signal), before])).then(action);
    // Whoever comes next waits for those before, too: this one may have left, and they go on.
    last = Promise.allSettled([before, result]);
    return result;
  };
}

/** Never fulfilled. */
export function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
