import { readlinkSync } from 'node:fs';
import type { FileStatus } from '@metalhub/systemd/tree-calls.js';
import { type LeftReason, MAX_LEFT } from '@metalhub/wire/spawner-admin.js';

/** Files with several names that are remembered; those beyond are left. */
const MAX_LINKED = 500_000;

/** Something left as it is. */
export interface Left {
  /** Full path as bytes, one per character; `undefined` when it is too long to be told. */
  readonly path: string | undefined;
  readonly reason: LeftReason;
}

/** A file of somebody else's that has several names. */
export interface Linked {
  readonly inode: number;
  readonly linkCount: number;
  /** Names of it in the home. */
  readonly names: string[];
}

export interface FoundByThread {
  readonly left: number;
  readonly examples: readonly Left[];
  readonly linked: readonly Linked[];
}

/** What one thread comes across; the numbers of all are summed in shared memory. */
export interface Findings {
  seen: number;
  changed: number;
  /** @param name bytes, one per character */
  leave(directory: number, name: string, reason: LeftReason, status: Pick<FileStatus, 'inode' | 'linkCount'>): void;
  /** Adds the numbers to those of all threads. */
  publish(): void;
  readonly found: FoundByThread;
}

export const TOTALS_BYTES = 16;

/** @param collectsLinks remember files with several names, instead of leaving them at once */
export function createFindings(totals: SharedArrayBuffer, collectsLinks: boolean): Findings {
  const cells = new BigInt64Array(totals);
  const examples: Left[] = [];
  const linked = new Map<number, Linked>();
  let left = 0;
  let published = { seen: 0, changed: 0 };

  const findings: Findings = {
    seen: 0,
    changed: 0,
    leave(directory, name, reason, { inode, linkCount }) {
      const known = linked.get(inode);
      if (reason === 'hard-link' && collectsLinks && (known !== undefined || linked.size < MAX_LINKED)) {
        const path = pathOf(directory, name);
        if (path !== undefined) {
          if (known === undefined) linked.set(inode, { inode, linkCount, names: [path] });
          else known.names.push(path);
          return;
        }
      }
      left++;
      if (examples.length < MAX_LEFT) examples.push({ path: pathOf(directory, name), reason });
    },
    publish() {
      const { seen, changed } = findings;
      Atomics.add(cells, 0, BigInt(seen - published.seen));
      Atomics.add(cells, 1, BigInt(changed - published.changed));
      published = { seen, changed };
    },
    get found() {
      return { left, examples, linked: [...linked.values()] };
    },
  };
  return findings;
}

export function readTotals(totals: SharedArrayBuffer): { seen: number; changed: number } {
  const cells = new BigInt64Array(totals);
  return { seen: Number(Atomics.load(cells, 0)), changed: Number(Atomics.load(cells, 1)) };
}

function pathOf(directory: number, name: string): string | undefined {
  try {
    return `${readlinkSync(`/proc/self/fd/${directory}`, 'latin1')}/${name}`;
  } catch {
    return undefined;
  }
}
