import type { ParamsOf } from '@metalhub/wire/protocol.js';
import type { ServerStatus, SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from '../context.js';

export async function answerStatus(
  { watch }: SpawnerContext,
  { key, server }: ParamsOf<SpawnerRequests, 'Status'>,
): Promise<ServerStatus> {
  const { status } = await watch.refresh(key, server);
  return status;
}
