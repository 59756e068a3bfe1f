import { MetalhubError } from '@metalhub/base/errors.js';
import type { Key } from '@metalhub/base/names.js';
import type { ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import type { SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { SpawnerContext } from '../context.js';
import { hasLocalProfile } from '../spawner-config.js';

type Params = ParamsOf<SpawnerAdminRequests, 'FixHome'>;

/** Gives everything in the home of a key to the uid that is leased to it. Ends when the caller goes away. */
export async function answerFixHome(
  context: Pick<SpawnerContext, 'leases' | 'homes' | 'keysInUse' | 'log' | 'readConfig'>,
  { key, check }: Params,
  peer: string,
  signal: AbortSignal,
): Promise<ResultOf<SpawnerAdminRequests, 'FixHome'>> {
  // From now on the lease cannot be released.
  const leaveKey = context.keysInUse.enter(key);
  try {
    const lease = await context.leases.require(key);
    await refuseLocal(context, key);
    context.log.notice('home to be looked at', { user: key, check, peer });
    const { kind, pass } = await context.homes.fix(key, lease.uid, { isCheck: check, signal });
    return { key, kind, pass };
  } finally {
    leaveKey();
  }
}

/** Who has no home of ours, where profiles use those of the machine: what is in these is for root to give away. */
async function refuseLocal(context: Pick<SpawnerContext, 'leases' | 'readConfig'>, key: Key): Promise<void> {
  if (!hasLocalProfile(context.readConfig())) return;
  const { homes = [] } = await context.leases.survey();
  if (homes.some((home) => home.key === key)) return;
  throw new MetalhubError('MH_ERR_SPAWN_HOME_LOCAL', {
    details: { key },
    hint: "as root, chown what should be the account's",
  });
}
