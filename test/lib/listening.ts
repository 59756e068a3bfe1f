import type { Machine } from './machine.js';

/** Addresses of a machine at which something listens for TCP, as ss writes them, in order. */
export async function listening(machine: Machine): Promise<string[]> {
  const lines = (await machine.run(['ss', '-Hltn'])).trim().split('\n');
  return lines.flatMap((line) => line.trim().split(/\s+/)[3] ?? []).sort();
}
