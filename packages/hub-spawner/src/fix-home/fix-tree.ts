import { availableParallelism, constants } from 'node:os';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { MetalhubError } from '@metalhub/base/errors.js';
import { libraryError } from '@metalhub/systemd/native.js';
import { createTreeCalls, openRootDirectory, type TreeCalls } from '@metalhub/systemd/tree-calls.js';
import type { LeftReason } from '@metalhub/wire/spawner-admin.js';
import { createFindings, type FoundByThread, type Left, type Linked, readTotals, TOTALS_BYTES } from './findings.js';
import { giveOpen, requireDone, type WalkGoal } from './give.js';
import { createTreeWalk } from './walk.js';
import { openWorkQueue, QUEUE_BYTES, type WorkQueue } from './work-queue.js';

/** A thread costs 40 ms to start: worth it for homes of more files than this. */
const FILES_WORTH_A_THREAD = 20_000;
const MAX_THREADS = 4;
const PROGRESS_MS = 500;
const MAX_PATH = 4095;

export interface FixTreeOptions extends WalkGoal {
  /** The directory that holds the homes; no component of it may be a link. */
  readonly root: string;
  /** The home's name in it. */
  readonly name: string;
  /** Nobody else changes the tree: then a file all of whose names are found in it is nobody else's. */
  readonly isAlone: boolean;
  readonly onProgress?: (totals: { seen: number; changed: number }) => void;
}

export interface FixTreeResult {
  readonly seen: number;
  readonly changed: number;
  readonly left: number;
  /** Paths relative to the home, bytes, one per character. */
  readonly examples: readonly Left[];
}

interface Shared {
  readonly goal: WalkGoal;
  readonly isAlone: boolean;
  readonly queue: SharedArrayBuffer;
  readonly totals: SharedArrayBuffer;
}

/**
 * Gives a whole tree to its user: all that differs, the top directory last, so that whoever looks at it sees whether this
 * came to its end. It can be killed at any moment and done again.
 *
 * @throws {MH_ERR_SPAWN_HOME} it is no directory {MH_ERR_SYSTEMD_LIBRARY} the disk
 */
export async function fixTree(options: FixTreeOptions): Promise<FixTreeResult> {
  const { uid, gid, isCheck, isAlone } = options;
  const path = `${options.root}/${options.name}`;
  const goal = { uid, gid, isCheck };
  const shared = {
    ...{ goal, isAlone },
    queue: new SharedArrayBuffer(QUEUE_BYTES),
    totals: new SharedArrayBuffer(TOTALS_BYTES),
  };
  const calls = createTreeCalls();
  const top = openTop(calls, options);
  const crew = createCrew(shared, options.onProgress);
  const own = walkAll(shared, calls, openTop(calls, options), crew.onDirectory);
  const found = [own, ...(await crew.results())];
  const linked = found.flatMap((part) => part.linked);
  const links = giveLinked({ calls, goal, top, prefix: bytesOf(path).length + 1 }, linked);
  const isTopChanged = giveTop(calls, goal, top, options);
  const { seen, changed } = readTotals(shared.totals);
  return {
    seen: seen + 1,
    changed: changed + links.changed + (isTopChanged ? 1 : 0),
    left: found.reduce((sum, { left }) => sum + left, links.left.length),
    examples: [...found.flatMap(({ examples }) => examples), ...links.left].map((left) => ({
      ...left,
      path: left.path?.slice(bytesOf(path).length + 1),
    })),
  };
}

function bytesOf(path: string): string {
  return Buffer.from(path).toString('latin1');
}

/** @throws {MH_ERR_SPAWN_HOME} */
function openTop(calls: TreeCalls, { root, name }: FixTreeOptions): number {
  const parent = openRootDirectory(calls, root);
  calls.writeName(name);
  const fd = calls.openDirectory(parent, calls.nameAddress);
  calls.close(parent);
  if (fd >= 0) return fd;
  throw new MetalhubError('MH_ERR_SPAWN_HOME', {
    details: { path: `${root}/${name}`, reason: TOP_REASONS[-fd] ?? 'it cannot be opened' },
    cause: libraryError('openat2', -fd),
  });
}

const { ENOENT, ENOTDIR, ELOOP, EXDEV } = constants.errno;
const TOP_REASONS: Readonly<Record<number, string>> = {
  [ENOENT]: 'it does not exist',
  [ENOTDIR]: 'it is not a directory',
  [ELOOP]: 'it is not a directory',
  [EXDEV]: 'something is mounted on it',
};

/** What one thread does: it walks what it is given until there is nothing left. @param first to begin with */
function walkAll(
  { goal, isAlone, queue: memory, totals }: Shared,
  calls: TreeCalls,
  first?: number,
  onDirectory?: (queue: WorkQueue) => void,
): FoundByThread {
  const queue = openWorkQueue(memory);
  const findings = createFindings(totals, isAlone);
  const walk = createTreeWalk(calls, goal, findings, queue, () => onDirectory?.(queue));
  queue.join();
  try {
    if (first !== undefined) walk.walk(first, 0);
    for (let next = queue.take(); next !== undefined; next = queue.take()) walk.walk(next.fd, next.depth);
  } catch (error) {
    queue.fail();
    throw error;
  }
  return findings.found;
}

/** The other threads. This one is never free to hear of them before the end: what they share is memory. */
function createCrew(shared: Shared, onProgress: FixTreeOptions['onProgress']) {
  const results: Promise<FoundByThread>[] = [];
  let lastMs = performance.now();
  return {
    onDirectory(): void {
      const totals = readTotals(shared.totals);
      if (results.length === 0 && totals.seen > FILES_WORTH_A_THREAD) {
        const count = Math.min(availableParallelism(), MAX_THREADS) - 1;
        for (let index = 0; index < count; index++) results.push(startThread(shared));
      }
      const nowMs = performance.now();
      if (nowMs - lastMs < PROGRESS_MS) return;
      lastMs = nowMs;
      onProgress?.(totals);
    },
    results: () => Promise.all(results),
  };
}

function startThread(shared: Shared): Promise<FoundByThread> {
  const worker = new Worker(process.argv[1] ?? '', { workerData: shared });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('a thread ended without a result')));
  });
}

/** To be called first by every program that uses {@link fixTree}: its further threads run the same file. */
export function isFurtherThread(): boolean {
  if (isMainThread) return false;
  parentPort?.postMessage(walkAll(workerData as Shared, createTreeCalls()));
  return true;
}

interface LinkedPlace {
  readonly calls: TreeCalls;
  readonly goal: WalkGoal;
  readonly top: number;
  /** Of full paths, up to what lies below the home. */
  readonly prefix: number;
}

/** Files with several names are given away when all their names are in the home, and left when one is elsewhere. */
function giveLinked({ calls, goal, top, prefix }: LinkedPlace, found: readonly Linked[]) {
  const files = new Map<number, Linked>();
  for (const file of found) {
    const known = files.get(file.inode);
    if (known === undefined) files.set(file.inode, file);
    else known.names.push(...file.names);
  }
  const left: Left[] = [];
  let changed = 0;
  for (const file of files.values()) {
    const reason = file.names.length < file.linkCount ? 'hard-link' : giveLinkedFile(file);
    if (reason === undefined) changed++;
    else left.push({ path: file.names[0], reason });
  }
  return { changed, left };

  function giveLinkedFile({ names: [name = ''], inode, linkCount }: Linked): LeftReason | undefined {
    if (goal.isCheck) return undefined;
    if (name.length - prefix >= MAX_PATH) return 'hard-link';
    calls.writeName(name.slice(prefix));
    const fd = calls.openEntry(top, calls.nameAddress);
    if (fd < 0) return 'hard-link';
    try {
      const { status } = calls;
      const isSame = calls.lookAtOpen(fd) === 0 && status.inode === inode && status.linkCount === linkCount;
      if (!isSame) return 'hard-link';
      return giveOpen(calls, goal, fd) ? undefined : 'immutable';
    } finally {
      calls.close(fd);
    }
  }
}

function giveTop(calls: TreeCalls, goal: WalkGoal, top: number, options: FixTreeOptions): boolean {
  const { status } = calls;
  requireDone(calls.lookAtOpen(top), 'statx');
  if (status.uid === goal.uid && status.gid === goal.gid) return false;
  if (goal.isCheck) return true;
  if (giveOpen(calls, goal, top)) return true;
  throw new MetalhubError('MH_ERR_SPAWN_HOME', {
    details: { path: `${options.root}/${options.name}`, reason: 'its owner cannot be changed' },
    hint: 'see: lsattr -d',
  });
}
