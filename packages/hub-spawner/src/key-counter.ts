import type { Key } from '@metalhub/base/names.js';

/** Keys that requests under way rely on. */
export interface KeyCounter {
  /** @returns ends it */
  enter(key: Key): () => void;
  has(key: Key): boolean;
  /** How many keys. */
  readonly size: number;
}

export function createKeyCounter(): KeyCounter {
  const counts = new Map<Key, number>();
  return {
    enter(key) {
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return () => {
        const left = (counts.get(key) ?? 1) - 1;
        if (left > 0) counts.set(key, left);
        else counts.delete(key);
      };
    },
    has: (key) => counts.has(key),
    get size() {
      return counts.size;
    },
  };
}
