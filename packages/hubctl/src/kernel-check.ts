import { realpathSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { KeyPath } from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';
import { type MachineFinding, missingGroups, type ProfileMachine } from './profile-check.js';

/** As servers see it: `undefined` when nobody but root can change what is there. */
export type FindUnsafe = (path: string) => string | undefined;

/** Hidden from servers, but for what a profile mounts there. */
const HIDDEN = ['/home/', '/root/', '/run/user/', '/tmp/', '/var/tmp/'];
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

/**
 * Compares kernels with the machine: what is missing, hidden from servers, or not root's alone. No start fails over it; the
 * kernel is not offered, or does not start.
 */
export async function checkKernels(
  { kernel, kernel_root }: Pick<Config, 'kernel' | 'kernel_root'>,
  machine: Pick<ProfileMachine, 'exists' | 'hasGroup'> & { findUnsafe: FindUnsafe },
): Promise<MachineFinding[]> {
  const missing = (path: KeyPath, file = ''): MachineFinding[] => {
    // Every user has their own.
    if (file === '' || file.startsWith('~/')) return [];
    if (HIDDEN.some((place) => file.startsWith(place))) {
      return [{ isProblem: false, path, reason: `servers do not see ${file}, unless a profile mounts it there` }];
    }
    return machine.exists(file) ? [] : [{ isProblem: false, path, reason: `${file} does not exist` }];
  };
  const groups = await Promise.all([
    ...kernel.map(({ allow }, index) => missingGroups(['kernel', index, 'allow', 'groups'], allow.groups, machine)),
    ...kernel_root.map(({ allow }, index) =>
      missingGroups(['kernel_root', index, 'allow', 'groups'], allow.groups, machine),
    ),
  ]);
  return [
    ...groups.flat(),
    ...kernel.flatMap(({ environment, command, activate, logo }, index) => [
      ...missing(['kernel', index, 'environment'], environment),
      ...missing(['kernel', index, 'command', 0], command[0]),
      ...missing(['kernel', index, 'activate'], activate),
      ...missing(['kernel', index, 'logo'], logo),
    ]),
    ...kernel_root.flatMap(({ path }, index) => {
      const where = ['kernel_root', index, 'path'];
      const found = missing(where, path);
      if (found.length > 0 || path.startsWith('~/')) return found;
      const reason = machine.findUnsafe(path);
      return reason === undefined
        ? []
        : [{ isProblem: false, path: where, reason: `no kernels are offered: ${reason}` }];
    }),
  ];
}

/**
 * What in a path, or above it, others than root can change; also above what it is a link to. The same as kernels.py finds
 * when it looks for environments.
 */
export function findUnsafe(path: string): string | undefined {
  const ends = [...new Set([realpathSync(path), resolve(path)])];
  for (const end of ends) {
    for (let place = end; ; place = dirname(place)) {
      const { uid, gid, mode } = statSync(place);
      if (uid !== 0) return `${place} belongs to uid ${uid}, not to root`;
      const isShared = (mode & (gid === 0 ? 0o002 : WRITABLE_BY_OTHERS)) !== 0;
      if (isShared && (ends.includes(place) || (mode & STICKY) === 0)) {
        return `${place} can be written by others than root`;
      }
      if (place === '/') break;
    }
  }
  return undefined;
}
