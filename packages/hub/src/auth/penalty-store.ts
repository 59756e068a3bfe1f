import type { Clock } from '@metalhub/base/time.js';
import type { Database } from '../db/database.js';
import { listPenalties, MAX_STORED_PENALTIES, replacePenalties, type StoredPenalty } from '../db/tables/penalties.js';
import type { Penalties } from './penalties.js';
import type { Throttle } from './throttle.js';

/** A restart of the hub must not be a way to guess on. */
export async function loadPenalties(database: Database, throttle: Throttle, clock: Clock): Promise<void> {
  const stored = await listPenalties(database);
  const nowMs = clock.nowMs();
  for (const [scope, penalties] of scopes(throttle)) {
    const own = stored.filter((penalty) => penalty.scope === scope);
    // The wall clock may have jumped since: time that went backwards counts as none.
    penalties.restore(
      own.map(({ subject, remainingMs, isEnforced, storedMs }) => {
        return { subject, remainingMs: remainingMs - Math.max(0, nowMs - storedMs), isEnforced };
      }),
    );
  }
}

/** @throws {MH_ERR_HUB_DATABASE} */
export async function storePenalties(database: Database, throttle: Throttle, clock: Clock): Promise<void> {
  const storedMs = clock.nowMs();
  const penalties = scopes(throttle).flatMap(([scope, each]): StoredPenalty[] => {
    return each.snapshot(MAX_STORED_PENALTIES).map((penalty) => ({ scope, storedMs, ...penalty }));
  });
  const isNothingStored = (await listPenalties(database)).length === 0;
  if (penalties.length === 0 && isNothingStored) return;
  await database.write((transaction) => replacePenalties(transaction, penalties));
}

function scopes({ names, addresses, knownSources }: Throttle): [string, Penalties][] {
  return [
    ['name', names],
    ['address', addresses],
    ['known', knownSources],
  ];
}
