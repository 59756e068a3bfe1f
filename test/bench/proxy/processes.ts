import { readdirSync, readFileSync } from 'node:fs';

/** Microseconds that the process and all its descendants have run so far, by the scheduler's own count. */
export function cpuMicroseconds(pid: number): number {
  let nanoseconds = 0;
  for (const member of withDescendants(pid)) {
    for (const task of list(`/proc/${member}/task`)) {
      nanoseconds += Number(read(`/proc/${member}/task/${task}/schedstat`).split(' ', 1)[0] ?? 0);
    }
  }
  return nanoseconds / 1000;
}

/** Proportional set size of the process and all its descendants, in bytes. */
export function memoryBytes(pid: number): number {
  let kilobytes = 0;
  for (const member of withDescendants(pid)) {
    kilobytes += Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${member}/smaps_rollup`))?.[1] ?? 0);
  }
  return kilobytes * 1024;
}

function withDescendants(root: number): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of list('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${name}/status`))?.[1] ?? 0);
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), Number(name)]);
  }
  const found = [root];
  for (const pid of found) found.push(...(childrenOf.get(pid) ?? []));
  return found;
}

// Processes and threads may end while they are looked at.
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
