/** Lets so many through at once; the rest waits in order. */
export interface CallGate {
  run<T>(work: () => Promise<T>): Promise<T>;
}

export function createCallGate(count: number): CallGate {
  let free = count;
  const waiting: (() => void)[] = [];

  return {
    async run(work) {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => void waiting.push(resolve));
      try {
        return await work();
      } finally {
        // The place goes to the next one, or is free.
        const next = waiting.shift();
        if (next === undefined) free++;
        else next();
      }
    },
  };
}
