import type { BigIntStats } from 'node:fs';
import { lstat, readdir, readFile, readlink, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { homePath, type Key, PRIVATE_HOME_ROOT, privateHomePath } from '@metalhub/base/names.js';
import { parseMountPoints } from './mount-points.js';

/** What systemd 257 puts on the disk for a user whose home it mounts with mapped ids. */
export const MAPPED_UID = 65_534;

export interface HomePlaces {
  /** The directory itself. */
  readonly directory: string;
  /** The link to it, by which users know it. */
  readonly link: string;
  readonly mountInfo: string;
  readonly protectedHardlinks: string;
}

export function homePlaces(key: Key): HomePlaces {
  return {
    directory: privateHomePath(key),
    link: homePath(key),
    mountInfo: '/proc/self/mountinfo',
    protectedHardlinks: '/proc/sys/fs/protected_hardlinks',
  };
}

/** The directory itself, as it is on the disk. */
export interface HomeTop {
  readonly uid: number;
  readonly gid: number;
  readonly inode: string;
  /** Nanoseconds since the epoch; 0 where the file system does not know. */
  readonly bornNs: string;
  /** Empty, and root's: made in advance by hand or by a quota tool, what systemd would have made itself. */
  readonly isNew: boolean;
}

/**
 * Refuses a home that systemd would follow elsewhere: it makes an absent one and takes an existing one over, with all that
 * is in it when its owner is not the expected one.
 *
 * @returns `undefined` when it is not there
 * @throws {MH_ERR_SPAWN_HOME} with the reason and what to do; nothing is touched
 */
export async function checkHome(places: HomePlaces): Promise<HomeTop | undefined> {
  await checkParents(places);
  await checkLink(places);
  const status = await findStatus(places.directory);
  if (status === undefined) return undefined;
  const path = places.directory;
  if (status.isSymbolicLink()) throw refusal(path, 'it is a symbolic link', `move it away: mv ${path} ${path}.old`);
  if (!status.isDirectory()) throw refusal(path, 'it is not a directory', `move it away: mv ${path} ${path}.old`);
  await checkMount(places, status);
  await checkHardlinkProtection(places);
  try {
    return await topOf(path, status);
  } catch (error) {
    if (await isGivenAway(path, error)) return checkHome(places);
    throw error;
  }
}

async function topOf(path: string, status: BigIntStats): Promise<HomeTop> {
  return {
    uid: Number(status.uid),
    gid: Number(status.gid),
    inode: String(status.ino),
    bornNs: String(status.birthtimeNs),
    // Without capabilities only root's own directories can be looked into, and only those need be.
    isNew: status.uid === 0n && (await readdir(path)).length === 0,
  };
}

/** Whether root could not look into it because it is not root's any more: systemd has just made it for another start. */
async function isGivenAway(path: string, error: unknown): Promise<boolean> {
  return systemErrorCode(error) === 'EACCES' && (await lstat(path)).uid !== 0;
}

/** Whether nothing more can be stored where the homes are. */
export async function isHomeDiskFull(root: string = PRIVATE_HOME_ROOT): Promise<boolean> {
  try {
    const { bavail, files, ffree } = await statfs(root);
    // File systems that make inodes as needed say that there are none at all.
    return bavail === 0 || (files > 0 && ffree === 0);
  } catch {
    return false;
  }
}

/** A link in place of one of our own directories would lead everybody's home astray. */
async function checkParents({ directory, link }: HomePlaces): Promise<void> {
  for (const parent of [dirname(directory), dirname(dirname(directory)), dirname(link)]) {
    const status = await findStatus(parent);
    if (status === undefined) continue;
    if (!status.isDirectory())
      throw refusal(parent, 'it is not a directory', `move it away: mv ${parent} ${parent}.old`);
    if (status.uid !== 0n) throw refusal(parent, `it belongs to uid ${status.uid}`, `run: chown root:root ${parent}`);
    if ((status.mode & 0o022n) !== 0n)
      throw refusal(parent, 'others than root can write to it', `run: chmod go-w ${parent}`);
  }
}

async function checkLink({ directory, link }: HomePlaces): Promise<void> {
  const status = await findStatus(link);
  if (status === undefined) return;
  const target = status.isSymbolicLink() ? resolve(dirname(link), await readlink(link)) : undefined;
  if (target === directory) return;
  const reason = target === undefined ? 'it is not the link that systemd makes' : `it is a link to ${target}`;
  throw refusal(link, reason, `the home is ${directory}; move this away: mv ${link} ${link}.old`);
}

async function checkMount({ directory, mountInfo }: HomePlaces, status: BigIntStats): Promise<void> {
  const parent = await findStatus(dirname(directory));
  const mounts = parseMountPoints(await readFile(mountInfo, 'utf8'));
  if (parent?.dev === status.dev && !mounts.has(directory)) return;
  throw refusal(
    directory,
    'something is mounted on it',
    `unmount it: umount ${directory}; a separate disk for homes is mounted at ${PRIVATE_HOME_ROOT}`,
  );
}

/** systemd's own re-owning follows hard links: a user's link to somebody's file would give the file away. */
async function checkHardlinkProtection({ directory, protectedHardlinks }: HomePlaces): Promise<void> {
  const value = await readFile(protectedHardlinks, 'utf8').catch(() => 'unknown');
  if (value.trim() === '1') return;
  throw refusal(
    directory,
    'the kernel does not protect hard links (fs.protected_hardlinks is not 1)',
    'run: sysctl -w fs.protected_hardlinks=1; and keep it in /etc/sysctl.d/',
  );
}

async function findStatus(path: string): Promise<BigIntStats | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw refusal(path, errorText(error), `look at: namei -l ${path}`);
  }
}

function refusal(path: string, reason: string, hint: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_HOME', { details: { path, reason }, hint });
}
