import { existsSync, statSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { parseBytes } from '@metalhub/config/bytes.js';
import type { KeyPath } from '@metalhub/config/load.js';
import { parseCpuSet } from '@metalhub/config/profile-settings.js';
import { pythonOf } from '@metalhub/config/python-of.js';
import type { Config, OptionConfig, OverrideConfig, ProfileConfig } from '@metalhub/config/schema.js';

type SettingsConfig = ProfileConfig | OverrideConfig | OptionConfig;

/** What of the configuration does not fit the machine. */
export interface MachineFinding {
  /** A start would fail. */
  readonly isProblem: boolean;
  readonly path: KeyPath;
  readonly reason: string;
}

/** The machine as far as profiles speak of it. */
export interface ProfileMachine {
  readonly memoryBytes: number;
  /** Their number. */
  readonly processors: number;
  exists(path: string): boolean;
  isDevice(path: string): boolean;
  /** @throws {MetalhubError} nobody knows */
  hasGroup(name: string): Promise<boolean>;
}

export function thisMachine(hasGroup: ProfileMachine['hasGroup']): ProfileMachine {
  return { memoryBytes: totalmem(), processors: cpus().length, exists: existsSync, isDevice, hasGroup };
}

function isDevice(path: string): boolean {
  const status = statSync(path, { throwIfNoEntry: false });
  return status !== undefined && (status.isCharacterDevice() || status.isBlockDevice());
}

/** Compares every profile with the machine: paths, devices, limits, groups. */
export async function checkProfiles(
  { profile }: Pick<Config, 'profile'>,
  machine: ProfileMachine,
): Promise<MachineFinding[]> {
  const findings: MachineFinding[] = [];
  for (const [index, entry] of profile.entries()) {
    const where = ['profile', index];
    const parts: [KeyPath, SettingsConfig][] = [
      [where, entry],
      ...entry.override.map((override, at): [KeyPath, SettingsConfig] => [[...where, 'override', at], override]),
      ...entry.choice.flatMap(({ option }, at) =>
        option.map((one, number): [KeyPath, SettingsConfig] => [[...where, 'choice', at, 'option', number], one]),
      ),
    ];
    for (const [path, settings] of parts) {
      // In another root nothing of this machine is looked for.
      const { root_directory = entry.root_directory, root_image = entry.root_image } = settings;
      const isElsewhere = Boolean(root_directory || root_image);
      findings.push(
        ...(isElsewhere ? [] : programFindings(path, settings, machine)),
        ...pathFindings(path, settings, machine),
        ...limitFindings(path, settings, machine),
        ...(await groupFindings(path, settings, machine)),
      );
    }
  }
  return findings;
}

function programFindings(path: KeyPath, settings: SettingsConfig, machine: ProfileMachine): MachineFinding[] {
  const { command, environment, network } = settings;
  const [program] = command ?? [];
  if (program !== undefined) {
    return [
      ...missing([...path, 'command', 0], program, machine),
      ...(command?.some((word) => word.includes('{port}')) && network !== 'none'
        ? [{ isProblem: false, path: [...path, 'command'], reason: 'every account of the machine can reach {port}' }]
        : []),
    ];
  }
  const python = pythonOf(environment, settings.python);
  return python === undefined ? [] : missing([...path, environment ? 'environment' : 'python'], python, machine);
}

function pathFindings(path: KeyPath, settings: SettingsConfig, machine: ProfileMachine): MachineFinding[] {
  const { mounts = [], devices = [], root_directory, root_image } = settings;
  return [
    ...mounts.flatMap(({ source }, at) => missing([...path, 'mounts', at], source, machine)),
    ...devices.flatMap((device, at) => {
      const where = [...path, 'devices', at];
      const found = missing(where, device, machine);
      if (found.length > 0 || machine.isDevice(device)) return found;
      return [{ isProblem: true, path: where, reason: `${device} is not a device` }];
    }),
    ...(root_directory ? missing([...path, 'root_directory'], root_directory, machine) : []),
    ...(root_image ? missing([...path, 'root_image'], root_image, machine) : []),
  ];
}

function limitFindings(path: KeyPath, settings: SettingsConfig, machine: ProfileMachine): MachineFinding[] {
  const found: MachineFinding[] = [];
  for (const key of ['memory_max', 'memory_high', 'memory_low'] as const) {
    const bytes = parseBytes(settings[key] ?? '') ?? 0;
    if (bytes > machine.memoryBytes) {
      const reason = `${settings[key]} is more than the machine has (${Math.floor(machine.memoryBytes / 2 ** 20)}M)`;
      found.push({ isProblem: false, path: [...path, key], reason });
    }
  }
  const { cpu_quota_percent: quota = 0, cpu_set } = settings;
  if (quota > machine.processors * 100) {
    const reason = `${quota} is more than the ${machine.processors} processors of the machine have`;
    found.push({ isProblem: false, path: [...path, 'cpu_quota_percent'], reason });
  }
  const absent = parseCpuSet(cpu_set ?? '')?.find((cpu) => cpu >= machine.processors);
  if (absent !== undefined) {
    found.push({ isProblem: true, path: [...path, 'cpu_set'], reason: `the machine has no processor ${absent}` });
  }
  return found;
}

async function groupFindings(
  path: KeyPath,
  settings: SettingsConfig,
  machine: ProfileMachine,
): Promise<MachineFinding[]> {
  const isOverride = 'groups' in settings;
  const groups = isOverride ? settings.groups : settings.allow.groups;
  const where = isOverride ? [...path, 'groups'] : [...path, 'allow', 'groups'];
  return missingGroups(where, groups, machine);
}

/** Groups that the machine does not have; nobody is let in by them. @param path of their list */
export async function missingGroups(
  path: KeyPath,
  groups: readonly string[],
  { hasGroup }: Pick<ProfileMachine, 'hasGroup'>,
): Promise<MachineFinding[]> {
  const known = await Promise.all(groups.map((group) => hasGroup(group)));
  return groups.flatMap((group, at) =>
    known[at] === true ? [] : [{ isProblem: false, path: [...path, at], reason: `there is no group ${group}` }],
  );
}

function missing(path: KeyPath, file: string, machine: ProfileMachine): MachineFinding[] {
  return machine.exists(file) ? [] : [{ isProblem: true, path, reason: `${file} does not exist` }];
}
