import { lstat } from 'node:fs/promises';
import { systemErrorCode } from '@metalhub/base/errors.js';
import type { SpawnerProfile } from './spawner-config.js';

/** Hidden from this process by its own sandbox, devices among them. */
const UNSEEN = ['/dev/', '/home/', '/root/', '/run/user/', '/tmp/', '/var/tmp/'];

/**
 * The first path that a profile's unit needs and that is not there; `undefined` when none is seen to be missing. Asked for
 * after systemd failed over one: before, a file system that hangs would hold this daemon up, too.
 */
export async function findMissingPath(profile: SpawnerProfile): Promise<string | undefined> {
  const { mounts, root_directory, root_image } = profile;
  const paths = [...mounts.map(({ source }) => source), root_directory, root_image];
  for (const path of paths) {
    if (path !== '' && !UNSEEN.some((place) => `${path}/`.startsWith(place)) && (await isMissing(path))) return path;
  }
  return undefined;
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return false;
  } catch (error) {
    return ['ENOENT', 'ENOTDIR', 'ENOTCONN', 'ESTALE'].includes(systemErrorCode(error) ?? '');
  }
}
