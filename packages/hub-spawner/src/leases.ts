import { readFile } from 'node:fs/promises';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { type Identity, type Key, PRIVATE_HOME_ROOT, privateHomePath } from '@metalhub/base/names.js';
import type { Clock } from '@metalhub/base/time.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import type { FoundHome } from './homes.js';
import {
  addLease,
  findLease,
  formatLeases,
  freeUids,
  LEASES_FILE,
  type Lease,
  type LeaseTable,
  NO_LEASES,
  parseLeases,
  releaseLease,
  type UidRange,
} from './lease-table.js';
import { createTurns } from './turns.js';
import type { IsUidTaken } from './uid-taken.js';

export interface LeaseStore {
  /**
   * The key's lease; a new one is on the disk before this returns. A home that was there before its user is given to
   * nobody: whose it is must be said by an administrator, who adopts it.
   *
   * @throws {MH_ERR_SPAWN_IDENTITY} {MH_ERR_SPAWN_RANGE_FULL} {MH_ERR_SPAWN_LEASES} {MH_ERR_SPAWN_LEASES_LOST}
   *   {MH_ERR_SPAWN_HOME_UNLEASED} {MH_ERR_SPAWN_DISK_FULL}
   */
  lease(key: Key, identity: Identity, range: UidRange): Promise<Lease>;
  /** The lease that a key has already. @throws {MH_ERR_SPAWN_NO_LEASE} {MH_ERR_SPAWN_LEASES} */
  require(key: Key): Promise<Lease>;
  /** All leases and all homes. @throws {MH_ERR_SPAWN_LEASES} */
  survey(): Promise<LeaseSurvey>;
  /**
   * Frees a key, for good without its uid, once `check` does not object.
   * @throws {MH_ERR_SPAWN_NO_LEASE} {MH_ERR_SPAWN_LEASES} and whatever `check` throws
   */
  release(key: Key, check: (survey: LeaseSurvey, lease: Lease) => Promise<void>): Promise<Lease>;
  /**
   * Leases the uid that `choose` finds, or a new one where it finds none, to a key that has none yet.
   * @throws {MH_ERR_SPAWN_IDENTITY} {MH_ERR_SPAWN_LEASES} {MH_ERR_SPAWN_RANGE_FULL} and whatever `choose` throws
   */
  adopt(key: Key, identity: Identity, range: UidRange, choose: ChooseUid): Promise<Lease>;
}

export interface LeaseSurvey {
  readonly table: LeaseTable;
  /** `undefined`: there is no place for homes. */
  readonly homes: readonly FoundHome[] | undefined;
}

export type ChooseUid = (survey: LeaseSurvey) => Promise<number | undefined>;

export interface LeaseStoreOptions {
  readonly file?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Which numbers are the machine's. Asked once for each new lease. */
  readonly readTakenUids: () => Promise<IsUidTaken>;
  readonly findHomes: () => Promise<readonly FoundHome[] | undefined>;
}

/** The file is read once; this process is its only writer, and makes one change at a time. */
export function createLeaseStore(options: LeaseStoreOptions): LeaseStore {
  const file = options.file ?? LEASES_FILE;
  let known: LeaseTable | undefined;
  const inTurn = createTurns();

  async function readTable(): Promise<LeaseTable> {
    const table = known ?? (await readLeases(file));
    // An empty one is read again: a lost file may be put back at any time.
    if (table.uids.size > 0) known = table;
    return table;
  }

  async function survey(): Promise<LeaseSurvey> {
    return { table: await readTable(), homes: await options.findHomes() };
  }

  async function store(table: LeaseTable): Promise<void> {
    await writeLeases(file, table);
    known = table;
  }

  async function give(table: LeaseTable, key: Key, identity: Identity, uid: number): Promise<Lease> {
    const lease: Lease = { key, uid, identity, since: new Date(options.clock.nowMs()).toISOString() };
    await store(addLease(table, lease));
    options.log.notice('uid leased', { user: key, uid });
    return lease;
  }

  return {
    lease: (key, identity, range) =>
      inTurn(async () => {
        const lease = findLease(await readTable(), key, identity);
        if (lease !== undefined) return lease;
        const { table, homes = [] } = await survey();
        refuseLost(table, homes, file);
        refuseUnleased(key, homes);
        return give(table, key, identity, await pickUid(table, homes, range, await options.readTakenUids()));
      }),
    require: (key) =>
      inTurn(async () => {
        const lease = (await readTable()).byKey.get(key);
        if (lease === undefined) throw new MetalhubError('MH_ERR_SPAWN_NO_LEASE', { details: { key } });
        return lease;
      }),
    survey: () => inTurn(survey),
    release: (key, check) =>
      inTurn(async () => {
        const found = await survey();
        const lease = found.table.byKey.get(key);
        if (lease === undefined) throw new MetalhubError('MH_ERR_SPAWN_NO_LEASE', { details: { key } });
        await check(found, lease);
        await store(releaseLease(found.table, lease, new Date(options.clock.nowMs()).toISOString()));
        return lease;
      }),
    adopt: (key, identity, range, choose) =>
      inTurn(async () => {
        const found = await survey();
        const lease = findLease(found.table, key, identity);
        if (lease !== undefined) return lease;
        const { table, homes = [] } = found;
        const uid = (await choose(found)) ?? (await pickUid(table, homes, range, await options.readTakenUids()));
        return give(table, key, identity, uid);
      }),
  };
}

/** Whether the leases that the homes were made under are gone. */
export function areLeasesLost(table: LeaseTable, homes: readonly FoundHome[]): boolean {
  return table.uids.size === 0 && homes.some(({ isUsed }) => isUsed);
}

function refuseLost(table: LeaseTable, homes: readonly FoundHome[], file: string): void {
  if (!areLeasesLost(table, homes)) return;
  throw new MetalhubError('MH_ERR_SPAWN_LEASES_LOST', {
    details: { file, homes: homes.filter(({ isUsed }) => isUsed).length },
    hint: `put ${file} back from a backup; without one run "hubctl leases adopt", see ADOPTING HOMES in hubctl(1). No new user is let in until then`,
  });
}

function refuseUnleased(key: Key, homes: readonly FoundHome[]): void {
  // Anything but a directory is refused with a better reason where homes are checked.
  if (!homes.some((home) => home.key === key && home.isUsed && home.isDirectory)) return;
  throw new MetalhubError('MH_ERR_SPAWN_HOME_UNLEASED', {
    details: { key, path: privateHomePath(key) },
    hint: `if it is this user's, run "hubctl leases adopt ${key}"; if not, move it out of ${PRIVATE_HOME_ROOT}`,
  });
}

async function readLeases(file: string): Promise<LeaseTable> {
  try {
    return parseLeases(await readFile(file, 'utf8'), file);
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
  homes: readonly FoundHome[],
  range: UidRange,
  isUidTaken: IsUidTaken,
): Promise<number> {
  const owners = new Set(homes.map(({ uid }) => uid));
  for (const uid of freeUids(table, range)) {
    if (!owners.has(uid) && !(await isUidTaken(uid))) return uid;
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
