import { MetalhubError } from '@metalhub/base/errors.js';
import { type Key, type ServerName, serverId, serviceUnit } from '@metalhub/base/names.js';
import type { SpawnerContext } from './context.js';
import type { ServerUnit } from './server-units.js';

/**
 * The unit of a server of ours that runs.
 * @throws {MH_ERR_SPAWN_NOT_RUNNING} {MH_ERR_SPAWN_UNIT_FOREIGN} {MH_ERR_SPAWN_ALREADY_PENDING} it is being started or stopped
 */
export async function requireRunning(
  { watch, operations }: Pick<SpawnerContext, 'watch' | 'operations'>,
  key: Key,
  server: ServerName,
): Promise<ServerUnit> {
  const id = serverId(key, server);
  if (operations.isPending(id)) throw new MetalhubError('MH_ERR_SPAWN_ALREADY_PENDING');
  const found = await watch.refresh(key, server);
  if (found.ownership === 'foreign') {
    throw new MetalhubError('MH_ERR_SPAWN_UNIT_FOREIGN', { details: { unit: serviceUnit(id) } });
  }
  if (found.status.active_state !== 'active') throw new MetalhubError('MH_ERR_SPAWN_NOT_RUNNING');
  return found;
}
