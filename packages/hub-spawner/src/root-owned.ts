import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
const MAX_LINKS = 16;

/**
 * Refuses a path that anybody but root could change: the file, every directory above it, and where links in it lead.
 *
 * A path that does not exist is fine as long as nobody else can make it.
 * @throws {MH_ERR_CONFIG_FILE}
 */
export function requireRootOwned(path: string, links = 0): void {
  if (!isAbsolute(path) || links > MAX_LINKS) throw refusal(path, 'too many symbolic links');
  const parent = dirname(path);
  if (parent !== path) requireRootOwned(parent, links);
  const status = findStatus(path);
  if (status === undefined) return;
  if (status.uid !== 0) throw refusal(path, `belongs to uid ${status.uid}`, `run: chown root:root ${path}`);
  if (status.isSymbolicLink()) {
    requireRootOwned(resolve(parent, readlinkSync(path)), links + 1);
    return;
  }
  const isSticky = status.isDirectory() && (status.mode & STICKY) !== 0;
  if ((status.mode & WRITABLE_BY_OTHERS) !== 0 && !isSticky) {
    throw refusal(path, 'can be written by others than root', `run: chmod go-w ${path}`);
  }
}

function findStatus(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function refusal(file: string, reason: string, hint?: string): MetalhubError {
  return new MetalhubError('MH_ERR_CONFIG_FILE', { details: { file, reason }, hint });
}
