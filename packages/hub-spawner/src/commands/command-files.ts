import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { runIsFull } from '../credentials.js';
import { RUNTIME_DIRECTORY } from '../spawner-config.js';

export const COMMAND_FILES = join(RUNTIME_DIRECTORY, 'commands');

/**
 * Writes a command's words where only root reads them, a NUL behind each. systemd copies the file into the unit when the
 * process is started.
 *
 * @returns the file's path, for `LoadCredential=`
 * @throws {MH_ERR_SPAWN_DISK_FULL}
 */
export async function writeCommandFile(unit: string, words: readonly string[], root = COMMAND_FILES): Promise<string> {
  const file = join(root, unit);
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await writeFile(file, words.map((word) => `${word}\0`).join(''), { mode: 0o600, flag: 'wx' });
    return file;
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOSPC') throw cause;
    await rm(file, { force: true });
    throw runIsFull(cause);
  }
}

export async function removeCommandFile(unit: string, root = COMMAND_FILES): Promise<void> {
  await rm(join(root, unit), { force: true });
}

/** Units that have a file: after a crash, starts that were under way. */
export async function listCommandFiles(root = COMMAND_FILES): Promise<string[]> {
  try {
    return await readdir(root);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
