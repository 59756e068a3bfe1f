import type { Log } from '@metalhub/base/log.js';
import { type Key, userSlice } from '@metalhub/base/names.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { U64_INFINITY, u64 } from '@metalhub/systemd/unit-property.js';
import { LIMITS, limitValues, USUAL_WEIGHT } from './limits.js';
import { LIVE_LIMITS, type LimitValues, mostOf } from './live-limits.js';
import type { SpawnerProfile } from './spawner-config.js';

/** Decides which start of a user's makes the user's slice, so that the slice goes when their last server has gone. */
export interface UserSlices {
  /**
   * Whether this start shall make it. To be followed by the call to systemd without a pause, and by `release` in the end.
   */
  claim(key: Key): Promise<boolean>;
  release(key: Key): void;
  /**
   * Lets the slice have what this profile may, when it has less: together the servers of a user have the most that one of
   * their profiles allows. It falls back when the slice ends. It never rejects: the unit has started all the same.
   */
  raise(key: Key, profile: SpawnerProfile): Promise<void>;
  /** Lets the slice have the most that one of the user's services that run has now, which may be less than before. */
  fit(key: Key): Promise<void>;
}

export function createUserSlices({ manager, log }: { manager: Manager; log: Log }): UserSlices {
  const starts = new Map<Key, number>();

  async function raise(key: Key, profile: SpawnerProfile): Promise<void> {
    const slice = userSlice(key);
    const present = await manager.unitProperties(slice, 'Slice', LIMITS);
    const wanted = limitValues(profile);
    const raised = LIMITS.flatMap((name) => {
      const value = wanted[name];
      const now = present[name];
      if (value === undefined || typeof now !== 'bigint') return [];
      const isWeight = name === 'CPUWeight' || name === 'IOWeight';
      return value > (isWeight && now === U64_INFINITY ? USUAL_WEIGHT : now) ? [u64(name, value)] : [];
    });
    if (raised.length === 0) return;
    const isRuntime = true;
    await manager.setUnitProperties(slice, isRuntime, raised);
  }

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
    async raise(key, profile) {
      try {
        await raise(key, profile);
      } catch (err) {
        log.warning('limits of the slice are those of other units', { user: key, err });
      }
    },
    async fit(key) {
      const rows = await manager.listUnitsByPatterns([], servicePatterns(key));
      const present = await Promise.all(rows.map(({ name }) => limitsWhileRunning(manager, name)));
      const most = mostOf(present.filter((limits) => limits !== undefined));
      if (most === undefined) return;
      const isRuntime = true;
      await manager.setUnitProperties(
        userSlice(key),
        isRuntime,
        LIVE_LIMITS.map((name) => u64(name, most[name])),
      );
    },
  };
}

/** Servers, and commands of administrators. */
function servicePatterns(key: Key): string[] {
  return [`jupyter-${key}.service`, `jupyter-${key}:*.service`, `jupyter-${key}-exec-*.service`];
}

/** `undefined` when it has ended: systemd then makes up a unit without limits. */
async function limitsWhileRunning(manager: Manager, service: string): Promise<LimitValues | undefined> {
  const limits = await manager.unitProperties(service, 'Service', LIVE_LIMITS);
  // Asked last: whatever it answers was so before.
  const { ActiveState } = await manager.unitProperties(service, 'Unit', ['ActiveState']);
  return ActiveState === 'inactive' || ActiveState === 'failed' ? undefined : (limits as LimitValues);
}
