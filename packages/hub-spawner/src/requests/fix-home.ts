import { MetalhubError } from '@metalhub/base/errors.js';
import type { ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import type { SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { SpawnerContext } from '../context.js';

type Params = ParamsOf<SpawnerAdminRequests, 'FixHome'>;

/** Gives everything in the home of a key to the uid that is leased to it. Ends when the caller goes away. */
export async function answerFixHome(
  context: Pick<SpawnerContext, 'leases' | 'homes' | 'keysInUse' | 'log'>,
  { key, check }: Params,
  peer: string,
  signal: AbortSignal,
): Promise<ResultOf<SpawnerAdminRequests, 'FixHome'>> {
  // From now on the lease cannot be released.
  const leaveKey = context.keysInUse.enter(key);
  try {
    const { table } = await context.leases.survey();
    const lease = table.byKey.get(key);
    if (lease === undefined)
      throw new MetalhubError('MH_ERR_SPAWN_NO_LEASE', { details: { key }, hint: 'see: hubctl leases' });
    context.log.notice('home to be looked at', { user: key, check, peer });
    const { kind, pass } = await context.homes.fix(key, lease.uid, { isCheck: check, signal });
    return { key, kind, pass };
  } finally {
    leaveKey();
  }
}
