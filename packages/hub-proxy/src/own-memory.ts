import { readFile } from 'node:fs/promises';

/** Bytes of memory that this process uses: its own, and its part of what it shares with others (PSS). */
export async function readOwnMemory(): Promise<number> {
  try {
    const kilobytes = /^Pss: +(\d+) kB$/m.exec(await readFile('/proc/self/smaps_rollup', 'utf8'))?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  } catch {
    // A kernel without it.
  }
  return process.memoryUsage.rss();
}
