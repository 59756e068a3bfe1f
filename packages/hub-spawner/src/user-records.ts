import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readlink, rename, rm, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { accountName, homePath, isHomeOf } from '@metalhub/base/names.js';
import { findAccount, findAccountByUid, findGroup, findGroupByGid } from '@metalhub/systemd/accounts.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { runIsFull } from './credentials.js';
import type { Lease } from './lease-table.js';
import { DYNAMIC_SHELL } from './user-account.js';

/** Read by nss-systemd on every look-up; gone after a reboot. */
export const RECORDS_DIRECTORY = '/run/userdb';

/** @see https://systemd.io/USER_RECORD/ */
export function userRecord({ key, uid }: Pick<Lease, 'key' | 'uid'>): Record<string, unknown> {
  return {
    userName: accountName(key),
    uid,
    gid: uid,
    realName: `metalhub user ${key}`,
    homeDirectory: homePath(key),
    shell: DYNAMIC_SHELL,
    // Nobody logs in to the machine with it: its only door is its server.
    locked: true,
  };
}

export function groupRecord({ key, uid }: Pick<Lease, 'key' | 'uid'>): Record<string, unknown> {
  return { groupName: accountName(key), gid: uid };
}

/** What the machine's databases say; separate from the files so that tests need not be root. */
export interface AccountLookups {
  findAccount: typeof findAccount;
  findAccountByUid: typeof findAccountByUid;
  findGroup: typeof findGroup;
  findGroupByGid: typeof findGroupByGid;
}

export const machineLookups: AccountLookups = { findAccount, findAccountByUid, findGroup, findGroupByGid };

/**
 * Makes the account of a lease known to the machine.
 *
 * `User=` with the name of an account that exists runs as that account, whatever `DynamicUser=` says: so the name must be
 * unknown or be this very lease before, and every look-up must give the lease afterwards.
 *
 * @throws {MH_ERR_SPAWN_ACCOUNT} the name or the number is somebody else's
 */
export async function publishAccount(
  lease: Pick<Lease, 'key' | 'uid'>,
  directory: string = RECORDS_DIRECTORY,
  lookups: AccountLookups = machineLookups,
): Promise<void> {
  const before = await compareWithMachine(lease, lookups);
  if (before === 'same' && (await isPublished(lease, directory))) return;
  if (before === 'other') throw notOurs(lease);
  await writeRecords(lease, directory);
  if ((await compareWithMachine(lease, lookups)) !== 'same') throw notSeen(lease);
}

/** Takes back what {@link publishAccount} wrote, and nothing else that may bear the names. */
export async function unpublishAccount(
  lease: Pick<Lease, 'key' | 'uid'>,
  directory: string = RECORDS_DIRECTORY,
): Promise<void> {
  const name = accountName(lease.key);
  for (const kind of ['user', 'group']) {
    const link = join(directory, `${lease.uid}.${kind}`);
    const target = await readlink(link).catch(() => undefined);
    if (target === `${name}.${kind}`) await unlink(link);
  }
  if (!(await isPublished(lease, directory))) return;
  // In this order: by the record of the user the next run knows that the group is still to be removed.
  await rm(join(directory, `${name}.group`), { force: true });
  await unlink(join(directory, `${name}.user`));
}

type Comparison = 'unknown' | 'same' | 'other';

async function compareWithMachine(
  { key, uid }: Pick<Lease, 'key' | 'uid'>,
  lookups: AccountLookups,
): Promise<Comparison> {
  const name = accountName(key);
  const [user, userOfId, group, groupOfId] = await Promise.all([
    lookups.findAccount(name),
    lookups.findAccountByUid(uid),
    lookups.findGroup(name),
    lookups.findGroupByGid(uid),
  ]);
  if ([user, userOfId, group, groupOfId].every((entry) => entry === undefined)) return 'unknown';
  const isUser = (entry: typeof user): boolean =>
    entry === undefined || (entry.name === name && entry.uid === uid && entry.gid === uid && isHomeOf(key, entry.home));
  const isGroup = (entry: typeof group): boolean => entry === undefined || (entry.name === name && entry.gid === uid);
  if (!isUser(user) || !isUser(userOfId) || !isGroup(group) || !isGroup(groupOfId)) return 'other';
  // A part of it: an earlier publishing was cut short.
  return [user, userOfId, group, groupOfId].includes(undefined) ? 'unknown' : 'same';
}

async function isPublished(lease: Pick<Lease, 'key' | 'uid'>, directory: string): Promise<boolean> {
  const content = await readFile(join(directory, `${accountName(lease.key)}.user`), 'utf8').catch(() => '');
  return content === format(userRecord(lease));
}

async function writeRecords(lease: Pick<Lease, 'key' | 'uid'>, directory: string): Promise<void> {
  const name = accountName(lease.key);
  const { uid } = lease;
  try {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await writeFileAtomic(join(directory, `${name}.group`), format(groupRecord(lease)), { mode: 0o644 });
    await linkAtomic(`${name}.group`, join(directory, `${uid}.group`));
    await writeFileAtomic(join(directory, `${name}.user`), format(userRecord(lease)), { mode: 0o644 });
    await linkAtomic(`${name}.user`, join(directory, `${uid}.user`));
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOSPC') throw cause;
    throw runIsFull(cause);
  }
}

async function linkAtomic(target: string, path: string): Promise<void> {
  // Of its own for each: two servers of one user may be started at once.
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  await symlink(target, temporary);
  await rename(temporary, path);
}

function format(record: Record<string, unknown>): string {
  return `${JSON.stringify(record)}\n`;
}

function notOurs({ key, uid }: Pick<Lease, 'key' | 'uid'>): MetalhubError {
  const account = accountName(key);
  return new MetalhubError('MH_ERR_SPAWN_ACCOUNT', {
    details: { account, uid },
    hint: `see "getent passwd ${account} ${uid}" and "getent group ${account} ${uid}": rename or remove what has the name or the number`,
  });
}

function notSeen({ key }: Pick<Lease, 'key' | 'uid'>): MetalhubError {
  const account = accountName(key);
  return new MetalhubError('MH_ERR_SPAWN_ACCOUNT', {
    details: { account },
    hint: `the machine does not read ${RECORDS_DIRECTORY}: install libnss-systemd and have "systemd" in the lines passwd and group of /etc/nsswitch.conf`,
  });
}
