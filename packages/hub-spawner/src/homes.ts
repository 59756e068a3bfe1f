import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { isKey, type Key, PRIVATE_HOME_ROOT } from '@metalhub/base/names.js';

/** What lies where a key's home would. */
export interface FoundHome {
  readonly key: Key;
  /** Of the directory itself, as it is on the disk. */
  readonly uid: number;
  readonly isDirectory: boolean;
  /** Not merely an empty directory of root's, such as a quota tool makes in advance. */
  readonly isUsed: boolean;
}

/**
 * All homes, those of users who have no lease too; names that are no key (`lost+found`) are nobody's home.
 *
 * @returns `undefined` when there is no place for homes at all
 * @throws {MH_ERR_SPAWN_HOME} it cannot be read: nothing may be concluded from that
 */
export async function findHomes(root: string = PRIVATE_HOME_ROOT): Promise<FoundHome[] | undefined> {
  try {
    const found = (await readdir(root)).filter(isKey).map((key) => lookAt(root, key));
    return (await Promise.all(found)).filter((home) => home !== undefined);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw new MetalhubError('MH_ERR_SPAWN_HOME', {
      details: { path: root, reason: errorText(error) },
      hint: `look at: namei -l ${root}`,
      cause: error,
    });
  }
}

async function lookAt(root: string, key: Key): Promise<FoundHome | undefined> {
  const path = join(root, key);
  try {
    const status = await lstat(path);
    const isDirectory = status.isDirectory();
    // Without capabilities only root's own directories can be looked into, and only those need be.
    const isUsed = !isDirectory || status.uid !== 0 || (await readdir(path)).length > 0;
    return { key, uid: status.uid, isDirectory, isUsed };
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
