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
    const lease = await context.leases.require(key);
    context.log.notice('home to be looked at', { user: key, check, peer });
    const { kind, pass } = await context.homes.fix(key, lease.uid, { isCheck: check, signal });
    return { key, kind, pass };
  } finally {
    leaveKey();
  }
}
