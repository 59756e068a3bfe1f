import { createHash } from 'node:crypto';
import { createdHomePath, type Identity, isAccountOf, isKey, type Key } from '@metalhub/base/names.js';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const HASHED_LENGTH = 22;

/**
 * Keys that would make a unit, account or slice look like something else's: `jupyter-hub.service` and
 * `jupyter-lab.service` are what administrators call their own units.
 */
const RESERVED = new Set([
  ...['root', 'nobody', 'daemon', 'system', 'systemd', 'user', 'users', 'admin', 'init', 'slice'],
  ...[
    'hub',
    'lab',
    'labhub',
    'notebook',
    'server',
    'proxy',
    'spawner',
    'singleuser',
    'kernel',
    'gateway',
    'enterprise',
  ],
]);

/**
 * Keys that may be given to an identity, best first; the caller takes the first that is free and keeps it for good.
 *
 * The name itself, lower-cased and with other characters as `_`, when that is a key; then hashes of the identity.
 */
export function* keyCandidates(identity: Identity): Generator<Key, never> {
  const name = identity.slice(identity.indexOf(':') + 1);
  const plain = name.toLowerCase().replace(/[^a-z0-9_]/g, '_');
  if (isKey(plain) && !isReserved(plain)) yield plain;
  for (let attempt = 0; ; attempt++) yield hashedKey(identity, attempt);
}

/** Of the configuration: which numbers users get. */
export interface UidRange {
  readonly uid_min: number;
  readonly uid_max: number;
}

/**
 * Whether the account that has the name of the key's own (`jupyter-<key>`) is somebody else's. Ours are
 * there from the first start after a boot on, and it may be one that runs: the user of a database that is older, or new.
 */
export function isForeignAccount(
  account: { readonly uid: number; readonly gid: number; readonly home: string } | undefined,
  key: Key,
  range?: UidRange,
): boolean {
  return account !== undefined && !isAccountOf(key, account) && !isCreatedFor(key, account, range);
}

/** With accounts.mode = "create". Others (The Littlest JupyterHub) have the same names and homes, but not our numbers. */
function isCreatedFor(
  key: Key,
  { uid, gid, home }: { readonly uid: number; readonly gid: number; readonly home: string },
  range: UidRange | undefined,
): boolean {
  const isInRange = range !== undefined && uid >= range.uid_min && uid <= range.uid_max;
  return isInRange && uid === gid && home === createdHomePath(key);
}

function isReserved(key: string): boolean {
  return RESERVED.has(key) || key.startsWith('metalhub');
}

function hashedKey(identity: Identity, attempt: number): Key {
  const digest = createHash('sha256').update(`${attempt}:${identity}`).digest();
  // A byte modulo 32 keeps all bits that count: 22 characters are 110 bits.
  const text = Array.from(digest.subarray(0, HASHED_LENGTH), (byte) => BASE32[byte % 32]).join('');
  return `u${text}` as string as Key;
}
