import { constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { allocateMemory } from '@metalhub/systemd/native.js';
import type { TreeCalls } from '@metalhub/systemd/tree-calls.js';
import type { LeftReason } from '@metalhub/wire/spawner-admin.js';
import type { Findings } from './findings.js';
import { giveOpen, requireDone, type WalkGoal } from './give.js';
import type { WorkQueue } from './work-queue.js';

const { ENOENT, ENOTDIR, ELOOP, EXDEV } = osConstants.errno;

/** As deep as a path can name it, and deeper than any program makes it; a descriptor is open for each level. */
export const MAX_DEPTH = 2048;
/** Subdirectories are entered whenever so many are known, so that no directory takes much memory. */
const MAX_PENDING = 1024;
const ENTRIES_BYTES = 64 * 1024;
// @see getdents64(2)
const LENGTH_AT = 16;
const TYPE_AT = 18;
const NAME_AT = 19;
const DT_UNKNOWN = 0;
const DT_DIRECTORY = 4;
const DOT = 46;

/** Walks directories, and gives all that is in them, and they themselves, to the user. Every thread has one. */
export interface TreeWalk {
  /** Closes the directory in the end. @throws {MH_ERR_SYSTEMD_LIBRARY} the disk, or what else goes wrong for good */
  walk(fd: number, depth: number): void;
}

export function createTreeWalk(
  calls: TreeCalls,
  goal: WalkGoal,
  findings: Findings,
  queue: WorkQueue,
  onDirectory: () => void,
): TreeWalk {
  const { status } = calls;
  const entries = allocateMemory(ENTRIES_BYTES);
  const bytes = entries.buffer;
  // Where one is foreign, the next is, too: then each is opened at once instead of being looked at first.
  let expectsForeign = false;

  function isTheirs(): boolean {
    return status.uid === goal.uid && status.gid === goal.gid;
  }

  /** Why a file that is not the user's is left so, as far as its status tells. */
  function reasonToLeave(): LeftReason | undefined {
    if (status.isMountRoot) return 'mount';
    const type = status.mode & constants.S_IFMT;
    if (type === constants.S_IFBLK || type === constants.S_IFCHR) return 'device';
    return type !== constants.S_IFDIR && status.linkCount > 1 ? 'hard-link' : undefined;
  }

  function leave(parent: number, name: number, reason: LeftReason): void {
    const at = name - entries.address;
    const isListed = at >= 0 && at < bytes.length;
    findings.leave(parent, isListed ? bytes.toString('latin1', at, bytes.indexOf(0, at)) : calls.name, reason, status);
  }

  /** Anything but a directory. @param name its address in memory */
  function visit(parent: number, name: number): void {
    findings.seen++;
    if (!expectsForeign || goal.isCheck) {
      const found = calls.look(parent, name);
      if (found === -ENOENT) return;
      requireDone(found, 'statx');
      if (isTheirs()) return;
      if (goal.isCheck) return note(parent, name, reasonToLeave());
    }
    const fd = calls.openEntry(parent, name);
    if (fd === -ENOENT) return;
    if (fd === -EXDEV) return leave(parent, name, 'mount');
    requireDone(fd, 'openat2');
    try {
      requireDone(calls.lookAtOpen(fd), 'statx');
      expectsForeign = !isTheirs();
      if (expectsForeign) note(parent, name, reasonToLeave() ?? (giveOpen(calls, goal, fd) ? undefined : 'immutable'));
    } finally {
      calls.close(fd);
    }
  }

  function note(parent: number, name: number, reason: LeftReason | undefined): void {
    if (reason === undefined) findings.changed++;
    else leave(parent, name, reason);
  }

  function walk(fd: number, depth: number): void {
    try {
      for (let pending: string[] = [], isMore = true; isMore; ) {
        isMore = readSome(fd, pending);
        if (isMore && pending.length < MAX_PENDING) continue;
        for (const name of pending) enter(fd, name, depth + 1);
        pending = [];
      }
      findings.publish();
      onDirectory();
    } finally {
      calls.close(fd);
    }
  }

  /** One portion of a directory: visits what is no directory, and names those that are. @returns whether there is more */
  function readSome(fd: number, directories: string[]): boolean {
    const end = calls.readEntries(fd, entries);
    // Removed while it was open.
    if (end === -ENOENT) return false;
    requireDone(end, 'getdents64');
    for (let at = 0; at < end; ) {
      const next = at + ((bytes[at + LENGTH_AT] ?? 0) | ((bytes[at + LENGTH_AT + 1] ?? 0) << 8));
      const type = bytes[at + TYPE_AT];
      const name = at + NAME_AT;
      at = next;
      if (type !== DT_DIRECTORY && type !== DT_UNKNOWN) visit(fd, entries.address + name);
      else if (!isDots(name)) directories.push(bytes.toString('latin1', name, bytes.indexOf(0, name)));
    }
    return end > 0;
  }

  function isDots(at: number): boolean {
    if (bytes[at] !== DOT) return false;
    return bytes[at + 1] === 0 || (bytes[at + 1] === DOT && bytes[at + 2] === 0);
  }

  /** A directory, or what the file system does not say to be none. */
  function enter(parent: number, text: string, depth: number): void {
    calls.writeName(text);
    const name = calls.nameAddress;
    if (depth > MAX_DEPTH) return leave(parent, name, 'too-deep');
    const fd = calls.openDirectory(parent, name);
    if (fd === -ENOENT) return;
    if (fd === -EXDEV) return leave(parent, name, 'mount');
    // Replaced since it was listed, or never one.
    if (fd === -ENOTDIR || fd === -ELOOP) return visit(parent, name);
    requireDone(fd, 'openat2');
    findings.seen++;
    requireDone(calls.lookAtOpen(fd), 'statx');
    if (!isTheirs()) note(parent, name, giveOpen(calls, goal, fd) ? undefined : 'immutable');
    if (!queue.offer(fd, depth)) walk(fd, depth);
  }

  return { walk };
}
