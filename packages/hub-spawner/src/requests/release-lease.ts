import { MetalhubError } from '@metalhub/base/errors.js';
import {
  accountName,
  isAccountOf,
  type Key,
  PRIVATE_HOME_ROOT,
  privateHomePath,
  userSlice,
} from '@metalhub/base/names.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { ParamsOf, ResultOf } from '@metalhub/wire/protocol.js';
import type { SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { SpawnerContext } from '../context.js';
import type { LeaseSurvey } from '../leases.js';
import { type AccountLookups, machineLookups, RECORDS_DIRECTORY, unpublishAccount } from '../user-records.js';

type Params = ParamsOf<SpawnerAdminRequests, 'ReleaseLease'>;

/**
 * Frees a key for another login. Whoever gets it next gets everything that has its name, so nothing may have: no unit, no
 * home. Files elsewhere are known by the uid, which nobody gets.
 */
export async function answerReleaseLease(
  context: Pick<SpawnerContext, 'leases' | 'manager' | 'keysInUse' | 'log'>,
  { key, home_is_gone: homeIsGone }: Params,
  peer: string,
  recordsDirectory: string = RECORDS_DIRECTORY,
  lookups: Pick<AccountLookups, 'findAccount'> = machineLookups,
): Promise<ResultOf<SpawnerAdminRequests, 'ReleaseLease'>> {
  const { uid, identity } = await context.leases.release(key, async (survey, lease) => {
    await refuseWhileUnits(context.manager, key);
    refuseWhileHome(key, survey, homeIsGone);
    // Last: from here to the end of the release no start can get the lease any more.
    if (context.keysInUse.has(key)) throw refusal(key, 'a start is under way');
    // Not after the release: a record that stayed would keep the next holder out, and could not be asked for again. While
    // there is a lease, the next start makes it anew.
    await unpublishAccount(lease, recordsDirectory);
    await refuseWhileAccount(key, lookups);
  });
  context.log.notice('lease released', { user: key, uid, homeIsGone, peer });
  return { key, uid, identity };
}

/** One that was made for the key has files of its user's, and its number. */
async function refuseWhileAccount(key: Key, { findAccount }: Pick<AccountLookups, 'findAccount'>): Promise<void> {
  const name = accountName(key);
  const account = await findAccount(name);
  if (account === undefined || isAccountOf(key, account)) return;
  throw refusal(key, `account ${name} exists`, `keep what is in ${account.home}, then: userdel --remove ${name}`);
}

/** Also of a failed server, and of a stranger that has the name. */
async function refuseWhileUnits(manager: Manager, key: Key): Promise<void> {
  const slice = userSlice(key);
  const patterns = [
    `jupyter-${key}.service`,
    `jupyter-${key}.socket`,
    `jupyter-${key}:*`,
    `jupyter-${key}-exec-*`,
    slice,
  ];
  const rows = await manager.listUnitsByPatterns([], patterns);
  // systemd keeps a name in mind for a while after somebody asked for it.
  const found = rows.find(
    ({ name, loadState, activeState }) => activeState !== 'inactive' || (loadState !== 'not-found' && name !== slice),
  );
  if (found === undefined) return;
  throw refusal(
    key,
    `unit ${found.name} exists (${found.activeState})`,
    `stop the server first: hubctl stop, or systemctl stop ${found.name}`,
  );
}

function refuseWhileHome(key: Key, { table, homes }: LeaseSurvey, homeIsGone: boolean): void {
  const path = privateHomePath(key);
  if (homes?.some((home) => home.key === key) === true) {
    throw refusal(
      key,
      `its home ${path} exists`,
      `keep it elsewhere ("mv ${path} …") or remove it, then repeat; whoever gets the key next would get the home`,
    );
  }
  // A disk that is not mounted looks just like homes that are gone.
  if (homeIsGone || homes?.some((home) => table.byKey.has(home.key)) === true) return;
  throw refusal(
    key,
    `no home of anybody is in ${PRIVATE_HOME_ROOT}`,
    'mount the disk of the homes; if there is none, and the home is gone for good, repeat it with --home-is-gone',
  );
}

function refusal(key: Key, reason: string, hint?: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_RELEASE', { details: { key, reason }, hint });
}
