import { MetalhubError } from '@metalhub/base/errors.js';
import { IDENTITY_PATTERN, type Identity, isKey, type Key } from '@metalhub/base/names.js';
import { guarded, integer, list, object, optional, type Shaped, text } from '@metalhub/base/shape.js';
import { jsonErrorPlace } from './json-error-place.js';

export const LEASES_FILE = '/var/lib/metalhub/spawner/leases.json';

const VERSION = 1;
const MAX_LEASES = 1_000_000;
const MAX_UID = 4_294_967_293;

const identity = guarded(
  (value: unknown): value is Identity => typeof value === 'string' && IDENTITY_PATTERN.test(value),
  'an identity',
);
/** RFC 3339, for the administrator. */
const time = text({ pattern: /^[0-9T:.Z-]+$/, max: 32 });
const lease = { key: guarded(isKey, 'a key'), uid: integer(1000, MAX_UID), identity, since: time };

const leaseShape = object(lease);
const releasedShape = object({ ...lease, released: time });
const fileShape = object({
  version: integer(VERSION, VERSION),
  leases: list(leaseShape, MAX_LEASES),
  released: optional(list(releasedShape, MAX_LEASES)),
});

/** A uid (and gid) that belongs to one key; the identity is compared, never shown to systemd. */
export type Lease = Shaped<typeof leaseShape>;
/** What is left of a lease that was given back. */
export type ReleasedLease = Shaped<typeof releasedShape>;

export interface UidRange {
  readonly min: number;
  readonly max: number;
}

/** All leases ever given. A key can be given back; a uid that owned files must never come to somebody else. */
export interface LeaseTable {
  readonly byKey: ReadonlyMap<Key, Lease>;
  readonly released: readonly ReleasedLease[];
  /** Of both. */
  readonly uids: ReadonlySet<number>;
}

export const NO_LEASES: LeaseTable = { byKey: new Map(), released: [], uids: new Set() };

/**
 * Reads the file's text.
 * @throws {MH_ERR_SPAWN_LEASES} damaged, or a key or uid is leased twice; names the place, quotes nothing
 */
export function parseLeases(content: string, file: string = LEASES_FILE): LeaseTable {
  const { leases, released = [] } = parseFile(content, file);
  const table = { byKey: new Map<Key, Lease>(), released, uids: new Set<number>() };
  for (const lease of leases) {
    if (table.byKey.has(lease.key)) throw damaged(file, `key ${lease.key} is in it twice`);
    table.byKey.set(lease.key, lease);
  }
  for (const { uid } of [...leases, ...released]) {
    if (table.uids.has(uid)) throw damaged(file, `uid ${uid} is in it twice`);
    table.uids.add(uid);
  }
  return table;
}

export function formatLeases({ byKey, released }: LeaseTable): string {
  const leases = [...byKey.values()];
  return `${JSON.stringify({ version: VERSION, leases, ...(released.length > 0 && { released }) }, null, 1)}\n`;
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
      hint: `its home belongs to the login that it was made for; "hubctl leases" names it`,
    });
  }
  return lease;
}

export function addLease(table: LeaseTable, lease: Lease): LeaseTable {
  return {
    ...table,
    byKey: new Map(table.byKey).set(lease.key, lease),
    uids: new Set(table.uids).add(lease.uid),
  };
}

/** Frees the key; the uid stays taken. */
export function releaseLease(table: LeaseTable, lease: Lease, released: string): LeaseTable {
  const byKey = new Map(table.byKey);
  byKey.delete(lease.key);
  return { ...table, byKey, released: [...table.released, { ...lease, released }] };
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

function parseFile(content: string, file: string): Shaped<typeof fileShape> {
  const value = parseJson(content, file);
  try {
    return fileShape(value, '');
  } catch (cause) {
    throw damaged(file, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function parseJson(content: string, file: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    // Not the parser's own words: they quote the file.
    const { line, column, isCutOff } = jsonErrorPlace(content);
    throw damaged(file, `line ${line}, column ${column}: ${isCutOff ? 'it ends too early' : 'it is not JSON'}`);
  }
}

function damaged(file: string, reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_LEASES', {
    details: { file, reason: `${file}: ${reason}` },
    hint: `stop hub-spawner and put back a backup of it; without one move it away ("mv ${file} ${file}.damaged") and see ADOPTING HOMES in hubctl(1). No server is started until then`,
    cause,
  });
}
