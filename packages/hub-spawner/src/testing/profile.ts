import { parseConfig } from '@metalhub/config/load.js';
import { kernelEntries } from '../kernel-shape.js';
import { profileEntry } from '../profile-entry.js';
import { serverEntry } from '../server-entry.js';
import { getProfile, type ProfileVariant, type SpawnerConfig, type SpawnerProfile } from '../spawner-config.js';

/** What the spawner is told of a configuration. @param toml tables of metalhub.toml */
export function extractOf(toml: string): SpawnerConfig {
  const config = parseConfig([{ file: 'test.toml', text: toml }]);
  const { accounts, server, profile } = config;
  const kernels = kernelEntries(config);
  return { accounts, server: serverEntry(server), profile: profile.map(profileEntry), kernels };
}

/** The profile `default` with these keys, written as in metalhub.toml. */
export function testProfile(keys = '', variant: ProfileVariant = {}): SpawnerProfile {
  return getProfile(extractOf(`[[profile]]\nname = "default"\n${keys}`), 'default', variant);
}
