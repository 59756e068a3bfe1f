import type { SpawnerContext } from './context.js';
import type { Lease } from './lease-table.js';
import { findLocalAccount } from './local-account.js';
import type { SpawnerConfig, SpawnerProfile } from './spawner-config.js';
import { dynamicAccount, type UserAccount } from './user-account.js';
import { publishAccount } from './user-records.js';

/**
 * As whom a unit of this user and profile runs: an account that is made known to the machine, or one of the machine's.
 * @throws {MH_ERR_SPAWN_ACCOUNT} {MH_ERR_SPAWN_LOCAL_LOGIN} {MH_ERR_SPAWN_LOCAL} {MH_ERR_SPAWN_CREATE} {MH_ERR_SPAWN_HOME}
 */
export async function prepareAccount(start: {
  readonly context: Pick<SpawnerContext, 'accounts'>;
  readonly lease: Lease;
  readonly profile: Pick<SpawnerProfile, 'account_mode'>;
  readonly config: Pick<SpawnerConfig, 'local'>;
  readonly signal: AbortSignal;
}): Promise<UserAccount> {
  const { context, lease, profile, config, signal } = start;
  if (profile.account_mode === 'local') return findLocalAccount(lease.identity, config.local);
  if (profile.account_mode === 'create') return context.accounts.find(lease, config.local, signal);
  await publishAccount(lease);
  return dynamicAccount(lease.key, lease.uid);
}
