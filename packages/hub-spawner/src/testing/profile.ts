import { parseConfig } from '@metalhub/config/load.js';
import { getProfile, type ProfileVariant, type SpawnerConfig, type SpawnerProfile } from '../spawner-config.js';
import { extractOf as extract } from '../spawner-extract.js';

/** What the spawner is told of a configuration. @param toml tables of metalhub.toml */
export function extractOf(toml: string): SpawnerConfig {
  return extract(parseConfig([{ file: 'test.toml', text: toml }]));
}

/** The profile `default` with these keys, written as in metalhub.toml. */
export function testProfile(keys = '', variant: ProfileVariant = {}): SpawnerProfile {
  return getProfile(extractOf(`[[profile]]\nname = "default"\n${keys}`), 'default', variant);
}
