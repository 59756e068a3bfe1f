/**
 * Directories that wait to be walked, shared by the threads of one process: descriptors are the process's, so a number is
 * all that must be handed over. It ends when it is empty and nobody works any more.
 */
export interface WorkQueue {
  /** Counts this thread in: from now on it does not end before this thread waits, too. */
  join(): void;
  /** Hands a directory over if somebody waits for one. @returns whether it was taken */
  offer(fd: number, depth: number): boolean;
  /** Waits for a directory; `undefined` when all are done, or somebody has failed. */
  take(): { fd: number; depth: number } | undefined;
  /** Ends it for all. */
  fail(): void;
}

const LOCK = 0;
const WAITING = 1;
const LENGTH = 2;
const ENDED = 3;
const THREADS = 4;
/** Changes with all that a waiting thread must hear of, so that one which only begins to wait does not miss it. */
const EVENTS = 5;
const FIRST = 6;
const CAPACITY = 64;
const FREE = 0;
const HELD = 1;

export const QUEUE_BYTES = 4 * (FIRST + 2 * CAPACITY);

export function openWorkQueue(memory: SharedArrayBuffer): WorkQueue {
  const cells = new Int32Array(memory);

  function lock(): void {
    while (Atomics.compareExchange(cells, LOCK, FREE, HELD) !== FREE) Atomics.wait(cells, LOCK, HELD);
  }

  function unlock(): void {
    Atomics.store(cells, LOCK, FREE);
    Atomics.notify(cells, LOCK, 1);
  }

  function announce(count?: number): void {
    Atomics.add(cells, EVENTS, 1);
    Atomics.notify(cells, EVENTS, count);
  }

  function end(): void {
    Atomics.store(cells, ENDED, 1);
    announce();
  }

  return {
    join() {
      lock();
      Atomics.add(cells, THREADS, 1);
      unlock();
    },
    offer(fd, depth) {
      // Looked at without the lock: most of the time nobody waits.
      if (Atomics.load(cells, WAITING) <= Atomics.load(cells, LENGTH)) return false;
      lock();
      const length = Atomics.load(cells, LENGTH);
      const isWanted = length < CAPACITY && Atomics.load(cells, WAITING) > length;
      if (isWanted) {
        cells[FIRST + 2 * length] = fd;
        cells[FIRST + 2 * length + 1] = depth;
        Atomics.store(cells, LENGTH, length + 1);
      }
      unlock();
      if (isWanted) announce(1);
      return isWanted;
    },
    take() {
      lock();
      Atomics.add(cells, WAITING, 1);
      for (;;) {
        const length = Atomics.load(cells, LENGTH);
        if (length > 0) {
          Atomics.store(cells, LENGTH, length - 1);
          Atomics.sub(cells, WAITING, 1);
          const at = FIRST + 2 * (length - 1);
          const taken = { fd: cells[at] ?? -1, depth: cells[at + 1] ?? 0 };
          unlock();
          return taken;
        }
        if (Atomics.load(cells, WAITING) === cells[THREADS]) end();
        const seen = Atomics.load(cells, EVENTS);
        unlock();
        if (Atomics.load(cells, ENDED) === 1) return undefined;
        Atomics.wait(cells, EVENTS, seen);
        if (Atomics.load(cells, ENDED) === 1) return undefined;
        lock();
      }
    },
    fail: end,
  };
}
