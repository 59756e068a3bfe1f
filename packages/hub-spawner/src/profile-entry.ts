import type { AccountMode } from '@metalhub/config/account-modes.js';
import { parseBytes } from '@metalhub/config/bytes.js';
import { parseCpuSet } from '@metalhub/config/profile-settings.js';
import { pythonOf } from '@metalhub/config/python-of.js';
import type { OptionConfig, OverrideConfig, ProfileConfig } from '@metalhub/config/schema.js';
import { changesShape, type ProfileChanges, type ProfileEntry, settingsShape } from './profile-shape.js';

/**
 * What the spawner is told of a profile: its settings with numbers, without titles and without who may use it.
 * @param mode of a profile that names none
 */
export function profileEntry(profile: ProfileConfig, mode: AccountMode): ProfileEntry {
  return {
    name: profile.name,
    settings: settingsShape({ account_mode: mode, ...changes(profile) }, profile.name),
    overrides: profile.override.map((override) => ({ name: override.name, changes: changes(override) })),
    choices: profile.choice.map(({ name, option }) => ({
      name,
      options: option.map((entry) => ({ name: entry.name, changes: changes(entry) })),
    })),
  };
}

/** Only what is said: keys that are left out stay so. */
function changes(source: ProfileConfig | OverrideConfig | OptionConfig): ProfileChanges {
  const result: Record<string, unknown> = {
    account_mode: source.account_mode || undefined,
    home: source.home,
    python: pythonOf(source.environment, source.python),
    command: source.command,
    default_url: source.default_url,
    root_dir: source.root_dir,
    memory_max_bytes: bytes(source.memory_max),
    memory_high_bytes: bytes(source.memory_high),
    memory_low_bytes: bytes(source.memory_low),
    swap_max_bytes: bytes(source.swap_max),
    cpu_quota_percent: source.cpu_quota_percent,
    cpu_weight: source.cpu_weight,
    cpu_set: source.cpu_set === undefined ? undefined : parseCpuSet(source.cpu_set),
    tasks_max: source.tasks_max,
    io_weight: source.io_weight,
    variables: source.variables,
    devices: source.devices,
    network: source.network,
    ip_allow: source.ip_allow,
    ip_deny: source.ip_deny,
    mounts: source.mounts?.map((mount) => ({ ...mount, target: mount.target || mount.source })),
    relax: source.relax,
    // Each takes the place of the other, whichever an earlier layer names.
    root_directory: source.root_image ? '' : source.root_directory,
    root_image: source.root_directory ? '' : source.root_image,
    before_start: source.before_start,
    after_stop: source.after_stop,
    properties: source.properties,
  };
  return changesShape(Object.fromEntries(Object.entries(result).filter(([, value]) => value !== undefined)), '');
}

/** null for no limit. */
function bytes(text: string | undefined): number | null | undefined {
  return text === undefined ? undefined : (parseBytes(text) ?? null);
}
