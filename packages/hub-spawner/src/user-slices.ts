import { type Key, userSlice } from '@metalhub/base/names.js';
import type { Manager } from '@metalhub/systemd/manager.js';

/** Decides which start of a user's makes the user's slice, so that the slice goes when their last server has gone. */
export interface UserSlices {
  /**
   * Whether this start shall make it. To be followed by the call to systemd without a pause, and by `release` in the end.
   */
  claim(key: Key): Promise<boolean>;
  release(key: Key): void;
}

export function createUserSlices(manager: Manager): UserSlices {
  const starts = new Map<Key, number>();
  return {
    async claim(key) {
      const { FragmentPath } = await manager.unitProperties(userSlice(key), 'Unit', ['FragmentPath']);
      const others = starts.get(key) ?? 0;
      starts.set(key, others + 1);
      // One that systemd made by itself, or nobody yet, has no file. Whoever was first is asking for it right now.
      return FragmentPath === '' && others === 0;
    },
    release(key) {
      const left = (starts.get(key) ?? 1) - 1;
      if (left > 0) starts.set(key, left);
      else starts.delete(key);
    },
  };
}
