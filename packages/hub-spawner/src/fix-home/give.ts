import { chmodSync, constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { libraryError } from '@metalhub/systemd/native.js';
import type { TreeCalls } from '@metalhub/systemd/tree-calls.js';

const SPECIAL = 0o6000;

export interface WalkGoal {
  readonly uid: number;
  readonly gid: number;
  /** Only look. */
  readonly isCheck: boolean;
}

/**
 * Gives what is open, and was just looked at, to the user.
 * @returns false when it may not be changed at all (`chattr +i`)
 * @throws {MH_ERR_SYSTEMD_LIBRARY}
 */
export function giveOpen(calls: TreeCalls, { uid, gid, isCheck }: WalkGoal, fd: number): boolean {
  if (isCheck) return true;
  // The bits first: were it the other way round, whoever is killed in between would leave them for good.
  if (!dropSpecialBits(fd, calls.status.mode)) return false;
  const given = calls.changeOwner(fd, uid, gid);
  if (given === -osConstants.errno.EPERM) return false;
  requireDone(given, 'fchownat');
  return true;
}

/** Takes setuid and setgid from what is open: in its user's hands they would mean something else. */
function dropSpecialBits(fd: number, mode: number): boolean {
  if ((mode & SPECIAL) === 0 || (mode & constants.S_IFMT) === constants.S_IFLNK) return true;
  try {
    // The only way to the mode of what was opened without reading it, whatever its name leads to by now.
    chmodSync(`/proc/self/fd/${fd}`, mode & 0o1777);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'EPERM') return false;
    throw error;
  }
}

/** @throws {MH_ERR_SYSTEMD_LIBRARY} for a negative result, the number of an error */
export function requireDone(result: number, call: string): number {
  if (result < 0) throw libraryError(call, -result);
  return result;
}
