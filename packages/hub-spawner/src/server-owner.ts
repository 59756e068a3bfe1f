import { accountName } from '@metalhub/base/names.js';
import type { Lease } from './lease-table.js';
import { localName } from './local-account.js';
import type { ServerUnit } from './server-units.js';

// What systemd says before it knows.
const NO_UID = 0xffff_ffff;

/**
 * Whether a unit of ours runs as somebody else than who the key is leased to. An account of the machine must be the one that
 * the login is for, or that was made for the key; one of the key must have the leased uid, which it has not when it
 * was started under leases that are lost.
 */
export function isOfOther(found: ServerUnit, { key, identity, uid }: Lease): boolean {
  if (found.ownership !== 'ours') return false;
  if (found.isLocal && found.account === localName(identity)) return false;
  if (found.account !== accountName(key)) return true;
  return found.mainPid > 0 && found.uid !== NO_UID && found.uid !== uid;
}
