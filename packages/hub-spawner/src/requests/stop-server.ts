import { MetalhubError } from '@metalhub/base/errors.js';
import { type Key, type ServerId, type ServerName, serverId, serviceUnit, socketUnit } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { ParamsOf } from '@metalhub/wire/protocol.js';
import type { ServerStatus, SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from '../context.js';

// Longer than any configured stop can take; a unit may have been made under another configuration.
const STOP_JOB_TIMEOUT_MS = 1300 * SECOND_MS;

export function answerStopServer(
  context: SpawnerContext,
  { key, server }: ParamsOf<SpawnerRequests, 'StopServer'>,
): Promise<ServerStatus> {
  return context.operations.stop(serverId(key, server), () => stopServer(context, key, server));
}

/**
 * Stops the units of a server and returns when they are gone.
 * @throws {MH_ERR_SPAWN_UNIT_FOREIGN}
 */
export async function stopServer(context: SpawnerContext, key: Key, server: ServerName): Promise<ServerStatus> {
  const id = serverId(key, server);
  const unit = serviceUnit(id);
  const before = await context.watch.refresh(key, server);
  if (before.ownership === 'foreign') throw new MetalhubError('MH_ERR_SPAWN_UNIT_FOREIGN', { details: { unit } });
  if (before.ownership === 'absent') return before.status;
  // systemd refuses to stop what stands still.
  if (before.status.frozen) await context.manager.thawUnit(unit);
  await stopUnits(context, id);
  const last = await context.watch.refresh(key, server);
  if (last.status.active_state === 'failed') await resetFailed(context, unit);
  const gone = await context.watch.waitFor(key, server, ({ invocation_id, active_state }) => {
    return active_state === 'inactive' && invocation_id === null;
  });
  context.log.notice('server stopped', { user: key, server, unit, result: last.status.result ?? gone.result });
  return gone;
}

/** Asks for both: the socket alone takes the service along only while both are loaded. */
export async function stopUnits({ manager }: Pick<SpawnerContext, 'manager'>, id: ServerId): Promise<void> {
  await Promise.all(
    [socketUnit(id), serviceUnit(id)].map(async (unit) => {
      try {
        await manager.stopUnit(unit, 'replace', { jobTimeoutMs: STOP_JOB_TIMEOUT_MS });
      } catch (error) {
        if (!isNoSuchUnit(error)) throw error;
      }
    }),
  );
}

export async function resetFailed({ manager }: Pick<SpawnerContext, 'manager'>, unit: string): Promise<void> {
  try {
    await manager.resetFailedUnit(unit);
  } catch (error) {
    if (!isNoSuchUnit(error)) throw error;
  }
}

function isNoSuchUnit(error: unknown): boolean {
  return error instanceof MetalhubError && error.code === 'MH_ERR_SYSTEMD_NO_SUCH_UNIT';
}
