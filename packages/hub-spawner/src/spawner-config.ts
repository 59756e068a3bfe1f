import { readFileSync } from 'node:fs';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { integer, list, nullable, object, type Shaped, text } from '@metalhub/base/shape.js';
import { PROFILE_NAME_PATTERN } from '@metalhub/wire/spawner.js';

export const RUNTIME_DIRECTORY = '/run/metalhub-spawner';
/** Written by hub-spawner-config, which knows TOML and the schema, so that the root daemon needs neither. */
export const CONFIG_EXTRACT = `${RUNTIME_DIRECTORY}/config.json`;

const MIN_MEMORY_BYTES = 64 * 2 ** 20;
const MAX_MEMORY_BYTES = 2 ** 50;
/** null: no limit. */
const memoryBytes = nullable(integer(MIN_MEMORY_BYTES, MAX_MEMORY_BYTES));

const profileShape = object({
  name: text({ pattern: PROFILE_NAME_PATTERN, max: 63 }),
  python: text({ pattern: /^\/[^\s\p{Cc}%$"'\\]+$/u, max: 1024 }),
  default_url: text({ pattern: /^\/[\x21-\x7e]*$/, max: 512 }),
  memory_max_bytes: memoryBytes,
  memory_high_bytes: memoryBytes,
  cpu_quota_percent: integer(0, 100_000),
  tasks_max: integer(16, 4_000_000),
});

export const spawnerConfigShape = object({
  accounts: object({ uid_min: integer(1000, 4_294_000_000), uid_max: integer(1000, 4_294_000_000) }),
  server: object({ start_timeout_sec: integer(1, 3600), stop_timeout_sec: integer(1, 600) }),
  profile: list(profileShape, 100),
});

/** The spawner's part of the configuration; keys are spelt as in metalhub.toml, except that sizes are numbers. */
export type SpawnerConfig = Shaped<typeof spawnerConfigShape>;
export type SpawnerProfile = SpawnerConfig['profile'][number];

/**
 * Reads the checked extract. It is read at every start of a server, so that a reload needs no signal.
 * @throws {MH_ERR_CONFIG_FILE}
 */
export function readSpawnerConfig(file: string = CONFIG_EXTRACT): SpawnerConfig {
  try {
    return spawnerConfigShape(JSON.parse(readFileSync(file, 'utf8')), '');
  } catch (cause) {
    throw new MetalhubError('MH_ERR_CONFIG_FILE', {
      details: { file, reason: errorText(cause) },
      hint: 'it is made from /etc/metalhub/metalhub.toml by "systemctl restart hub-spawner"',
      cause,
    });
  }
}

/** @throws {MH_ERR_SPAWN_PROFILE} */
export function getProfile(config: SpawnerConfig, name: string): SpawnerProfile {
  const profile = config.profile.find((candidate) => candidate.name === name);
  if (profile === undefined) throw new MetalhubError('MH_ERR_SPAWN_PROFILE', { details: { profile: name } });
  return profile;
}
