import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import { accountName, isAccountOf, type Key } from '@metalhub/base/names.js';
import { accountMistake, shellOf } from '@metalhub/config/account-rules.js';
import type { Account } from '@metalhub/systemd/accounts.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { Lease } from './lease-table.js';
import { ambiguityOf, type LocalLookups, localLookups, privilegeOf } from './local-account.js';
import { homeMistake } from './local-home.js';
import { RUNTIME_DIRECTORY, type SpawnerConfig } from './spawner-config.js';
import { createTurns } from './turns.js';
import type { UserAccount } from './user-account.js';
import { type AccountLookups, machineLookups } from './user-records.js';

const REQUESTS_DIRECTORY = join(RUNTIME_DIRECTORY, 'create-account');
const JOB_TIMEOUT_MS = 90_000;

export interface AccountMaker {
  /**
   * The account of the machine that is made for a key at its first start, with the uid that is leased to it.
   *
   * @param signal ends the wait for accounts of others that are being made
   * @throws {MH_ERR_SPAWN_CREATE} {MH_ERR_SPAWN_LOCAL} {MH_ERR_SPAWN_HOME} {MH_ERR_SYSTEMD_LIBRARY} nobody knows; the
   *   signal's reason
   */
  find(lease: Lease, rules: SpawnerConfig['local'], signal: AbortSignal): Promise<UserAccount>;
}

export interface AccountMakerOptions {
  /** Has the account made. */
  readonly make: (lease: Lease) => Promise<void>;
  /** Takes back the record of a dynamic user, which would be in the way. */
  readonly unpublish: (lease: Lease) => Promise<void>;
  readonly lookups?: Lookups;
}

type Lookups = LocalLookups & Pick<AccountLookups, 'findGroup' | 'findGroupByGid'>;

export function createAccountMaker({
  make,
  unpublish,
  lookups = { ...localLookups, ...machineLookups },
}: AccountMakerOptions): AccountMaker {
  // One after the other: the tools that write the account files wait for each other only so long.
  const inTurn = createTurns();
  // In one of the account files before it is in the others.
  const halfMade = new Set<Key>();

  async function findMade({ key }: Lease): Promise<Account | undefined> {
    const account = await lookups.findAccount(accountName(key));
    // That of a dynamic user, from before the configuration was changed.
    return account === undefined || isAccountOf(key, account) ? undefined : account;
  }

  async function findOrMake(lease: Lease): Promise<Account | undefined> {
    // Of two starts at once the first has had it made.
    const made = await findMade(lease);
    if (made !== undefined) return made;
    await unpublish(lease);
    await requireFreeGroup(lease, lookups);
    halfMade.add(lease.key);
    try {
      await make(lease);
    } finally {
      halfMade.delete(lease.key);
    }
    return findMade(lease);
  }

  return {
    async find(lease, rules, signal) {
      const account =
        (halfMade.has(lease.key) ? undefined : await findMade(lease)) ??
        (await inTurn(() => findOrMake(lease), signal));
      if (account === undefined) throw failure(lease.key, 'the machine does not know it yet');
      await requireUsable(lease, account, rules, lookups);
      const { name, uid, gid, home } = account;
      return { name, uid, gid, home, shell: shellOf(account), isLocal: true };
    },
  };
}

/** The account's own group is called like it and has its number; one of somebody else's would be its files' group. */
async function requireFreeGroup({ key, uid }: Lease, lookups: Lookups): Promise<void> {
  const name = accountName(key);
  const [named, numbered] = await Promise.all([lookups.findGroup(name), lookups.findGroupByGid(uid)]);
  const other = [named, numbered].find((group) => group !== undefined && (group.name !== name || group.gid !== uid));
  if (other === undefined) return;
  throw new MetalhubError('MH_ERR_SPAWN_LOCAL', {
    details: {
      account: name,
      reason: `gid ${uid} is leased to it, but there is a group ${other.name} with gid ${other.gid}`,
    },
    hint: `see "getent group ${name} ${uid}": rename that group or give it another number`,
  });
}

/** Root may have changed it since, or made another one by that name. */
async function requireUsable(
  { key, uid }: Lease,
  account: Account,
  rules: SpawnerConfig['local'],
  lookups: Lookups,
): Promise<void> {
  const name = accountName(key);
  const groups = await lookups.accountGroupNames(account);
  const reason =
    account.uid === uid ? undefined : `its uid is ${account.uid}, but ${uid} is leased to the user (hubctl leases)`;
  const refused =
    reason ??
    accountMistake({ name, account, groups, shells: lookups.readShells() }) ??
    privilegeOf(groups, rules) ??
    (await ambiguityOf(account, lookups));
  if (refused !== undefined) {
    throw new MetalhubError('MH_ERR_SPAWN_LOCAL', {
      details: { account: name, reason: refused },
      hint: `see: getent passwd ${name}; id ${name}`,
    });
  }
  const mistake = homeMistake(account.home);
  if (mistake === undefined) return;
  throw new MetalhubError('MH_ERR_SPAWN_HOME', { details: { path: account.home, reason: mistake } });
}

/** Has systemd run the tools of the machine; this daemon executes nothing. @throws {MH_ERR_SPAWN_CREATE} */
export async function runCreateAccount(
  manager: Pick<Manager, 'startUnit'>,
  { key, uid }: Pick<Lease, 'key' | 'uid'>,
  directory: string = REQUESTS_DIRECTORY,
): Promise<void> {
  const unit = `hub-create-account@${key}.service`;
  const file = join(directory, `${key}.env`);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFileAtomic(file, `METALHUB_UID=${uid}\n`, { mode: 0o600 });
  try {
    const { result } = await manager.startUnit(unit, 'replace', { jobTimeoutMs: JOB_TIMEOUT_MS });
    if (result !== 'done') throw failure(key, `${unit} failed`);
  } finally {
    await rm(file, { force: true });
  }
}

function failure(key: Key, reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_CREATE', {
    details: { account: accountName(key), reason },
    hint: `see: journalctl -u hub-create-account@${key} -n 20`,
  });
}
