import { MetalhubError } from '@metalhub/base/errors.js';
import { accountName, isAccountOf, type Key, PRIVATE_HOME_ROOT, privateHomePath } from '@metalhub/base/names.js';
import type { UID_SOURCES } from '@metalhub/wire/spawner-admin.js';
import { MAPPED_UID } from './home.js';
import type { FoundHome } from './homes.js';
import type { LeaseTable, UidRange } from './lease-table.js';
import type { AccountLookups } from './user-records.js';

export type UidSource = (typeof UID_SOURCES)[number];

/** What is known of the uid that a home without a lease had. */
export interface UidEvidence {
  /** What the administrator says. */
  readonly given: number | null;
  /** Of the account that the machine still knows, from a record that a start published since the last boot. */
  readonly record: number | undefined;
  readonly home: FoundHome;
}

/**
 * The uid to lease to the owner of a home: what all evidence agrees on. Homes that systemd mounts with mapped ids belong
 * to nobody on the disk, and so tell none: then any uid fits, and it is `undefined` with the source `new`.
 *
 * @throws {MH_ERR_SPAWN_ADOPT} the evidence disagrees, or the uid is another's
 */
export function chooseUid(
  key: Key,
  { given, record, home }: UidEvidence,
  table: LeaseTable,
  range: UidRange,
): { uid: number | undefined; source: UidSource } {
  const owner = home.uid === 0 || home.uid === MAPPED_UID ? undefined : home.uid;
  if (record !== undefined && owner !== undefined && record !== owner) {
    throw refusal(key, `it belongs to uid ${owner}, but the machine knows ${accountName(key)} as uid ${record}`);
  }
  const known = record ?? owner;
  if (given !== null && known !== undefined && given !== known) {
    throw refusal(key, `its uid is ${known}, not ${given}`, 'leave --uid out');
  }
  // An administrator of metalhub is not root: which numbers are for users is root's configuration to say.
  if (given !== null && known === undefined && (given < range.min || given > range.max)) {
    throw refusal(
      key,
      `uid ${given} is outside of the range ${range.min}-${range.max}`,
      'see accounts in metalhub.toml(5)',
    );
  }
  const uid = given ?? known;
  if (uid === undefined) return { uid, source: 'new' };
  if (uid < 1000) throw refusal(key, `it belongs to uid ${uid}, a system account`);
  if (table.uids.has(uid)) throw refusal(key, `uid ${uid} was leased to somebody else`, 'see: hubctl leases');
  const source = given !== null ? 'given' : record !== undefined ? 'record' : 'owner';
  return { uid, source };
}

/** The uid of a key's account that was published earlier. @throws {MH_ERR_SPAWN_ADOPT} another account has the name */
export async function findRecordUid(key: Key, lookups: AccountLookups): Promise<number | undefined> {
  const account = await lookups.findAccount(accountName(key));
  if (account === undefined) return undefined;
  if (account.name === accountName(key) && isAccountOf(key, account)) return account.uid;
  throw refusal(key, `account ${accountName(key)} is something else's`, `see: getent passwd ${accountName(key)}`);
}

/**
 * Makes sure that nobody else has the number: no account, no group, and no other home, whose files would be this user's.
 * @throws {MH_ERR_SPAWN_ADOPT}
 */
export async function requireOwnUid(
  key: Key,
  uid: number,
  homes: readonly FoundHome[],
  lookups: AccountLookups,
): Promise<void> {
  const twin = homes.find((home) => home.key !== key && home.uid === uid);
  if (twin !== undefined) {
    const path = privateHomePath(twin.key);
    throw refusal(
      key,
      `${path} belongs to uid ${uid} as well`,
      `see: ls -ln ${PRIVATE_HOME_ROOT}; give ${path} another owner or move it away`,
    );
  }
  const [account, group] = await Promise.all([lookups.findAccountByUid(uid), lookups.findGroupByGid(uid)]);
  const other = [account?.name, group?.name].find((name) => name !== undefined && name !== accountName(key));
  if (other !== undefined) throw refusal(key, `uid ${uid} belongs to ${other}`, `see: getent passwd ${uid}`);
}

export function refusal(key: Key, reason: string, hint?: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_ADOPT', { details: { key, reason }, hint });
}
