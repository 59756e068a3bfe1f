import { mkdir, readdir, rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { ServerId } from '@metalhub/base/names.js';
import type { Kernels } from './kernel-shape.js';
import { RUNTIME_DIRECTORY } from './spawner-config.js';
import { CREDENTIAL_NAME } from './unit-properties.js';

export const CREDENTIALS_ROOT = join(RUNTIME_DIRECTORY, 'cred');

/** More than a start leaves below /run. */
const START_BYTES = 64 * 1024;
const START_FILES = 16;

/** What the launcher reads. */
export interface ServerCredential {
  readonly token: string;
  readonly base_url: string;
  readonly default_url: string;
  /** As in metalhub.toml; left out for the home. */
  readonly root_dir?: string;
  /** Files of others that have changed since are a reason not to start; null when none is. */
  readonly home_checked_at_ms: number | null;
  /** For kernels.py; left out for none. */
  readonly kernels?: Kernels;
  /** The home gets what is in /etc/skel when it is empty, though systemd did not make it for the unit. */
  readonly fill_home?: boolean;
  /** For adapter.py. */
  readonly command?: readonly string[];
}

/**
 * Writes what a server must know and nobody else may, where only root reads it. systemd copies it into the unit when the
 * process is started, so it is removed when the start job has ended.
 *
 * @returns the file's path, for `LoadCredential=`
 * @throws {MH_ERR_SPAWN_DISK_FULL}
 */
export async function writeCredential(
  id: ServerId,
  credential: ServerCredential,
  root = CREDENTIALS_ROOT,
): Promise<string> {
  const directory = join(root, id);
  const file = join(directory, CREDENTIAL_NAME);
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await rm(file, { force: true });
    await writeFile(file, JSON.stringify(credential), { mode: 0o600, flag: 'wx' });
    return file;
  } catch (cause) {
    await rm(directory, { recursive: true, force: true });
    if (systemErrorCode(cause) !== 'ENOSPC') throw cause;
    throw runIsFull(cause);
  }
}

/** Whether /run has not the room that a start needs, for its units' files above all. systemd does not always say so. */
export async function isRunFull(root = RUNTIME_DIRECTORY): Promise<boolean> {
  try {
    const { bavail, bsize, files, ffree } = await statfs(root);
    return bavail * bsize < START_BYTES || (files > 0 && ffree < START_FILES);
  } catch {
    return false;
  }
}

export function runIsFull(cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_DISK_FULL', { hint: 'free space under /run', cause });
}

export async function removeCredential(id: ServerId, root = CREDENTIALS_ROOT): Promise<void> {
  await rm(join(root, id), { recursive: true, force: true });
}

/** Ids that have a credential: after a crash, starts that were under way. */
export async function listCredentials(root = CREDENTIALS_ROOT): Promise<string[]> {
  try {
    return await readdir(root);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
