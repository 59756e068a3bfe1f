import type { Key } from '@metalhub/base/names.js';
import type { SpawnerContext } from '../context.js';
import { parseVariant, VARIANT_VARIABLE } from '../profile-variant.js';
import { getProfile, type SpawnerProfile } from '../spawner-config.js';

/**
 * What a command gets: the named profile as it stands, else all that a server of the user has which runs, else the first
 * profile. What was chosen for the server counts too, for it may take something away.
 *
 * @throws {MH_ERR_SPAWN_PROFILE} {MH_ERR_SPAWN_CHOICE} root's configuration no longer has what was chosen
 */
export async function chooseProfile(
  { readConfig, watch }: Pick<SpawnerContext, 'readConfig' | 'watch'>,
  key: Key,
  wanted: string | null,
): Promise<SpawnerProfile> {
  const config = readConfig();
  if (wanted !== null) return getProfile(config, wanted);
  const server = watch.list().find((one) => one.key === key && one.profile !== null);
  if (server !== undefined) {
    const { status, environment } = await watch.refresh(key, server.server);
    const profile = config.profile.find(({ name }) => name === status.profile);
    // A server that an earlier version started tells no more than its profile.
    const variant = parseVariant(environment.get(VARIANT_VARIABLE) ?? '');
    if (profile !== undefined) return getProfile(config, profile.name, variant);
  }
  return getProfile(config, config.profile[0]?.name ?? 'default');
}
