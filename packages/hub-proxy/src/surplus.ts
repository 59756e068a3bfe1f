/** What one earlier generation holds, all its workers together. */
export interface GenerationLoad {
  readonly generation: number;
  readonly connections: number;
  readonly memoryBytes: number;
}

export interface GenerationLimits {
  /** Generations that may live at once, the newest included. */
  readonly maxGenerations: number;
  /** What all their workers may use together. */
  readonly maxMemoryBytes: number;
}

/**
 * The earlier generations that must end before their time, so that no more than the limits allow are left: those with the
 * fewest connections first, of equal ones the oldest.
 *
 * @param current the newest, which never ends for this
 */
export function findSurplus(
  current: GenerationLoad | undefined,
  earlier: readonly GenerationLoad[],
  { maxGenerations, maxMemoryBytes }: GenerationLimits,
): GenerationLoad[] {
  let count = earlier.length + 1;
  let memoryBytes = earlier.reduce((sum, load) => sum + load.memoryBytes, current?.memoryBytes ?? 0);
  const surplus: GenerationLoad[] = [];
  for (const load of earlier.toSorted((a, b) => a.connections - b.connections || a.generation - b.generation)) {
    if (count <= maxGenerations && memoryBytes <= maxMemoryBytes) break;
    surplus.push(load);
    count--;
    memoryBytes -= load.memoryBytes;
  }
  return surplus;
}
