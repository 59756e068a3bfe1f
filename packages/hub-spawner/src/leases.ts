import { readFile } from 'node:fs/promises';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import type { Identity, Key } from '@metalhub/base/names.js';
import type { Clock } from '@metalhub/base/time.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import {
  addLease,
  findLease,
  formatLeases,
  freeUids,
  type Lease,
  type LeaseTable,
  NO_LEASES,
  parseLeases,
  type UidRange,
} from './lease-table.js';

export const LEASES_FILE = '/var/lib/metalhub/spawner/leases.json';

export interface LeaseStore {
  /**
   * The key's lease; a new one is on the disk before this returns.
   * @throws {MH_ERR_SPAWN_IDENTITY} {MH_ERR_SPAWN_RANGE_FULL} {MH_ERR_SPAWN_LEASES} {MH_ERR_SPAWN_DISK_FULL}
   */
  lease(key: Key, identity: Identity, range: UidRange): Promise<Lease>;
}

export interface LeaseStoreOptions {
  readonly file?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether an account or a group of the machine has the number. */
  readonly isUidTaken: (uid: number) => Promise<boolean>;
}

/** The file is read once; this process is its only writer, and writes one lease at a time. */
export function createLeaseStore(options: LeaseStoreOptions): LeaseStore {
  const file = options.file ?? LEASES_FILE;
  let table: LeaseTable | undefined;
  let last: Promise<unknown> = Promise.resolve();

  async function leaseNow(key: Key, identity: Identity, range: UidRange): Promise<Lease> {
    table ??= await readLeases(file);
    const known = findLease(table, key, identity);
    if (known !== undefined) return known;
    const uid = await pickUid(table, range, options.isUidTaken);
    const lease: Lease = { key, uid, identity, since: new Date(options.clock.nowMs()).toISOString() };
    const grown = addLease(table, lease);
    await writeLeases(file, grown);
    table = grown;
    options.log.notice('uid leased', { user: key, uid });
    return lease;
  }

  return {
    lease(key, identity, range) {
      const result = last.then(() => leaseNow(key, identity, range));
      last = result.catch(() => undefined);
      return result;
    },
  };
}

async function readLeases(file: string): Promise<LeaseTable> {
  try {
    return parseLeases(await readFile(file, 'utf8'));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return NO_LEASES;
    throw error instanceof MetalhubError ? error : storeError(error);
  }
}

async function writeLeases(file: string, table: LeaseTable): Promise<void> {
  try {
    await writeFileAtomic(file, formatLeases(table), { mode: 0o600 });
  } catch (error) {
    throw storeError(error);
  }
}

async function pickUid(
  table: LeaseTable,
  range: UidRange,
  isUidTaken: (uid: number) => Promise<boolean>,
): Promise<number> {
  for (const uid of freeUids(table, range)) {
    if (!(await isUidTaken(uid))) return uid;
  }
  throw new MetalhubError('MH_ERR_SPAWN_RANGE_FULL', {
    details: { min: range.min, max: range.max },
    hint: 'raise accounts.uid_max in metalhub.toml; a uid is never given twice',
  });
}

function storeError(cause: unknown): MetalhubError {
  const isFull = ['ENOSPC', 'EDQUOT'].includes(systemErrorCode(cause) ?? '');
  if (isFull) return new MetalhubError('MH_ERR_SPAWN_DISK_FULL', { hint: 'free space under /var/lib/metalhub', cause });
  return new MetalhubError('MH_ERR_SPAWN_LEASES', { details: { reason: errorText(cause) }, cause });
}
