import type { ServerStatus } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from '../context.js';

/** Every server that has a unit, in whatever state, whoever started it and when. */
export async function answerList({ watch }: SpawnerContext): Promise<{ servers: ServerStatus[] }> {
  await watch.refreshAll();
  return { servers: watch.list() };
}
