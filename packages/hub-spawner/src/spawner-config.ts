import { readFileSync } from 'node:fs';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { integer, list, nullable, object, type Shaped, text } from '@metalhub/base/shape.js';
import { mergeSettings } from '@metalhub/config/profile-settings.js';
import { kernelsShape } from './kernel-shape.js';
import { memoryBytes, type ProfileChanges, type ProfileSettings, profileShape } from './profile-shape.js';

export const RUNTIME_DIRECTORY = '/run/metalhub-spawner';
/** Written by hub-spawner-config, which knows TOML and the schema, so that the root daemon needs neither. */
export const CONFIG_EXTRACT = `${RUNTIME_DIRECTORY}/config.json`;

const names = list(text({ pattern: /^[^\p{Cc}]+$/u, max: 256 }), 1000);
const nameLists = object({ users: names, groups: names });

export const spawnerConfigShape = object({
  accounts: object({ uid_min: integer(1000, 4_294_000_000), uid_max: integer(1000, 4_294_000_000) }),
  /** Which accounts of the machine servers may run as. */
  local: object({
    /** Who may log in with the machine's password; null for nobody. */
    login: nullable(object({ allow: nameLists, deny: nameLists })),
    /** Of those that give power over the machine, the ones whose members are not refused. */
    privileged_groups: names,
  }),
  server: object({
    start_timeout_sec: integer(1, 3600),
    stop_timeout_sec: integer(1, 600),
    /** The most that SetLimits may give; null, and 0, for what the machine has. */
    memory_ceiling_bytes: memoryBytes,
    cpu_ceiling_percent: integer(0, 100_000),
    tasks_ceiling: integer(16, 4_000_000),
  }),
  profile: list(profileShape, 100),
  kernels: kernelsShape,
});

/** The spawner's part of the configuration; keys are spelt as in metalhub.toml, except that sizes are numbers. */
export type SpawnerConfig = Shaped<typeof spawnerConfigShape>;

/** A profile with what was chosen in it. */
export interface SpawnerProfile extends ProfileSettings {
  readonly name: string;
}

/** Which of root's variants of a profile is meant, by their names. */
export interface ProfileVariant {
  readonly override?: string | undefined;
  /** Names of options by the name of the choice. */
  readonly choices?: Readonly<Record<string, string>> | undefined;
}

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

/**
 * A profile by name: its settings, then those of the override, then those of the options in the order of the choices. A
 * choice of which no option is named is left as the profile has it.
 * @throws {MH_ERR_SPAWN_PROFILE} {MH_ERR_SPAWN_CHOICE}
 */
export function getProfile(config: SpawnerConfig, name: string, variant: ProfileVariant = {}): SpawnerProfile {
  const profile = config.profile.find((candidate) => candidate.name === name);
  if (profile === undefined) throw new MetalhubError('MH_ERR_SPAWN_PROFILE', { details: { profile: name } });
  const { override, choices = {} } = variant;
  const find = <T extends { name: string }>(entries: readonly T[], wanted: string): T => {
    const found = entries.find((candidate) => candidate.name === wanted);
    if (found !== undefined) return found;
    throw new MetalhubError('MH_ERR_SPAWN_CHOICE', { details: { profile: name, choice: wanted } });
  };
  for (const choice of Object.keys(choices)) find(profile.choices, choice);
  const layers = [
    ...(override === undefined ? [] : [find(profile.overrides, override).changes]),
    ...profile.choices.flatMap((choice) => {
      const option = Object.hasOwn(choices, choice.name) ? choices[choice.name] : undefined;
      return option === undefined ? [] : [find(choice.options, option).changes];
    }),
  ];
  return { name, ...mergeSettings<ProfileSettings>(profile.settings, ...layers) };
}

/** Whether a server may run as an account of the machine. */
export function hasLocalProfile({ profile }: Pick<SpawnerConfig, 'profile'>): boolean {
  const layers = profile.flatMap(({ settings, overrides, choices }): readonly ProfileChanges[] => [
    settings,
    ...overrides.map(({ changes }) => changes),
    ...choices.flatMap(({ options }) => options.map(({ changes }) => changes)),
  ]);
  return layers.some(({ account_mode: mode }) => mode === 'local' || mode === 'create');
}
