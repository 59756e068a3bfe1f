import { serverId, serviceUnit } from '@metalhub/base/names.js';
import type { ParamsOf } from '@metalhub/wire/protocol.js';
import type { ServerStatus, SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from '../context.js';
import { requireRunning } from '../running-server.js';

type Params = ParamsOf<SpawnerRequests, 'Freeze'>;

/** Answered when the processes stand still. @throws {MH_ERR_SPAWN_NOT_RUNNING} */
export function answerFreeze(context: SpawnerContext, params: Params): Promise<ServerStatus> {
  return change(context, params, true);
}

/** Answered when they go on. @throws {MH_ERR_SPAWN_NOT_RUNNING} */
export function answerThaw(context: SpawnerContext, params: Params): Promise<ServerStatus> {
  return change(context, params, false);
}

async function change(context: SpawnerContext, { key, server }: Params, isFrozen: boolean): Promise<ServerStatus> {
  const { manager, watch, log } = context;
  const before = await requireRunning(context, key, server);
  if (before.status.frozen === isFrozen) return before.status;
  const unit = serviceUnit(serverId(key, server));
  if (isFrozen) await manager.freezeUnit(unit);
  else await manager.thawUnit(unit);
  const { status } = await watch.refresh(key, server);
  log.notice(isFrozen ? 'server frozen' : 'server thawed', { user: key, server, unit });
  return status;
}
