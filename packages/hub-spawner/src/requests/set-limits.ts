import { availableParallelism, totalmem } from 'node:os';
import { MetalhubError } from '@metalhub/base/errors.js';
import { serverId, serviceUnit } from '@metalhub/base/names.js';
import { u64 } from '@metalhub/systemd/unit-property.js';
import type { ParamsOf } from '@metalhub/wire/protocol.js';
import type { SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from '../context.js';
import { changedLimits, LIVE_LIMITS, type LimitValues, liveLimitsOf, parseLimits } from '../live-limits.js';
import { requireRunning } from '../running-server.js';
import type { ServerUnit } from '../server-units.js';
import { getProfile, type SpawnerConfig } from '../spawner-config.js';
import { LIMITS_VARIABLE } from '../unit-properties.js';

/**
 * Changes what a server that runs may use, and what its user's servers may together. Each time from what it was started
 * with: no limits at all gives back.
 * @throws {MH_ERR_SPAWN_NOT_RUNNING} {MH_ERR_SPAWN_LIMIT}
 */
export async function answerSetLimits(
  context: SpawnerContext,
  { key, server, start_id, limits }: ParamsOf<SpawnerRequests, 'SetLimits'>,
): Promise<Record<string, never>> {
  const found = await requireRunning(context, key, server);
  // Another one than the caller speaks of.
  if (found.status.start_id !== start_id) throw new MetalhubError('MH_ERR_SPAWN_NOT_RUNNING');
  const config = context.readConfig();
  const machine = { memoryBytes: totalmem(), cores: availableParallelism() };
  const wanted = changedLimits(originalLimits(found, config), limits, config.server, machine);
  const unit = serviceUnit(serverId(key, server));
  const isRuntime = true;
  await context.manager.setUnitProperties(
    unit,
    isRuntime,
    LIVE_LIMITS.map((name) => u64(name, wanted[name])),
  );
  await context.slices.fit(key);
  context.log.notice('limits of a server changed', { user: key, server, unit, ...limits });
  return {};
}

/** A server that an earlier version started does not know: it gets what its profile says now. */
function originalLimits({ environment, status }: ServerUnit, config: SpawnerConfig): LimitValues {
  return parseLimits(environment.get(LIMITS_VARIABLE) ?? '') ?? liveLimitsOf(getProfile(config, status.profile ?? ''));
}
