import { parseBytes } from '@metalhub/config/bytes.js';

/** From so many cores on a second worker finds one that the users' servers do not need. */
const CORES_FOR_TWO = 4;
/** The unit's MemoryMax= is half of the machine: the newest generation needs room, too. */
const SHARE_OF_MACHINE = 0.4;

/** @param configured `proxy.workers`; 0 leaves it to the machine */
export function workerCount(configured: number, cores: number): number {
  if (configured > 0) return configured;
  return cores >= CORES_FOR_TWO ? 2 : 1;
}

/** @param configured `proxy.generations_memory_max`; empty for no limit but the machine's */
export function memoryCeiling(configured: string, machineBytes: number): number {
  return Math.min(parseBytes(configured) ?? Number.POSITIVE_INFINITY, Math.floor(machineBytes * SHARE_OF_MACHINE));
}
