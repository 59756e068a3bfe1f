import { readFile } from 'node:fs/promises';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { parseDelegations } from '@metalhub/config/subordinate-ids.js';
import { findAccountByUid, findGroupByGid } from '@metalhub/systemd/accounts.js';

const DELEGATIONS = ['/etc/subuid', '/etc/subgid'] as const;

/**
 * Whether a number is no use for a new user: an account or a group of the machine has it, or somebody may act as it.
 * @throws {MH_ERR_SYSTEMD_LIBRARY} nobody knows
 */
export type IsUidTaken = (uid: number) => Promise<boolean>;

/** Good for one search: who may act as what is read once, for a single delegation may be of many thousand numbers. */
export async function readTakenUids(files: readonly string[] = DELEGATIONS): Promise<IsUidTaken> {
  const delegations = (await Promise.all(files.map(readIfThere))).flatMap(parseDelegations);
  return async (uid) => {
    if (delegations.some(({ first, last }) => uid >= first && uid <= last)) return true;
    return (await findAccountByUid(uid)) !== undefined || (await findGroupByGid(uid)) !== undefined;
  };
}

async function readIfThere(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return '';
    throw error;
  }
}
