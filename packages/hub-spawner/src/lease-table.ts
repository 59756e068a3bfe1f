import { MetalhubError } from '@metalhub/base/errors.js';
import { IDENTITY_PATTERN, type Identity, isKey, type Key } from '@metalhub/base/names.js';
import { guarded, integer, list, object, type Shaped, text } from '@metalhub/base/shape.js';

const VERSION = 1;
const MAX_LEASES = 1_000_000;
const MAX_UID = 4_294_967_293;

const identity = guarded(
  (value: unknown): value is Identity => typeof value === 'string' && IDENTITY_PATTERN.test(value),
  'an identity',
);

const leaseShape = object({
  key: guarded(isKey, 'a key'),
  uid: integer(1000, MAX_UID),
  identity,
  /** RFC 3339, for the administrator. */
  since: text({ pattern: /^[0-9T:.Z-]+$/, max: 32 }),
});
const fileShape = object({ version: integer(VERSION, VERSION), leases: list(leaseShape, MAX_LEASES) });

/** A uid (and gid) that belongs to one key for good; the identity is compared, never shown to systemd. */
export type Lease = Shaped<typeof leaseShape>;

export interface UidRange {
  readonly min: number;
  readonly max: number;
}

/** All leases ever given. There is no way to take one back: a uid that owned files must not come to somebody else. */
export interface LeaseTable {
  readonly byKey: ReadonlyMap<Key, Lease>;
  readonly uids: ReadonlySet<number>;
}

export const NO_LEASES: LeaseTable = { byKey: new Map(), uids: new Set() };

/**
 * Reads the file's text.
 * @throws {MH_ERR_SPAWN_LEASES} damaged, or a key or uid is leased twice
 */
export function parseLeases(content: string): LeaseTable {
  const table = { byKey: new Map<Key, Lease>(), uids: new Set<number>() };
  for (const lease of parseFile(content)) {
    if (table.byKey.has(lease.key)) throw damaged(`key ${lease.key} is in it twice`);
    if (table.uids.has(lease.uid)) throw damaged(`uid ${lease.uid} is in it twice`);
    table.byKey.set(lease.key, lease);
    table.uids.add(lease.uid);
  }
  return table;
}

export function formatLeases(table: LeaseTable): string {
  return `${JSON.stringify({ version: VERSION, leases: [...table.byKey.values()] }, null, 1)}\n`;
}

/**
 * The key's lease, `undefined` when it has none.
 * @throws {MH_ERR_SPAWN_IDENTITY} it was given to another identity
 */
export function findLease(table: LeaseTable, key: Key, wanted: Identity): Lease | undefined {
  const lease = table.byKey.get(key);
  if (lease !== undefined && lease.identity !== wanted) {
    throw new MetalhubError('MH_ERR_SPAWN_IDENTITY', {
      details: { key },
      hint: `its home belongs to the login that it was made for; see the entry in /var/lib/metalhub/spawner/leases.json`,
    });
  }
  return lease;
}

export function addLease(table: LeaseTable, lease: Lease): LeaseTable {
  return {
    byKey: new Map(table.byKey).set(lease.key, lease),
    uids: new Set(table.uids).add(lease.uid),
  };
}

/**
 * Uids that may be leased, best first: those after the highest ever leased, then the gaps that a changed range left.
 */
export function* freeUids(table: LeaseTable, range: UidRange): Generator<number> {
  let highest = range.min - 1;
  for (const uid of table.uids) if (uid <= range.max && uid > highest) highest = uid;
  for (let uid = highest + 1; uid <= range.max; uid++) yield uid;
  for (let uid = range.min; uid < highest; uid++) if (!table.uids.has(uid)) yield uid;
}

function parseFile(content: string): Lease[] {
  try {
    return fileShape(JSON.parse(content), '').leases;
  } catch (cause) {
    throw damaged(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function damaged(reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_LEASES', {
    details: { reason },
    hint: 'restore /var/lib/metalhub/spawner/leases.json from a backup; no server is started until it can be read',
    cause,
  });
}
