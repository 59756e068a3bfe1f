import { isRange } from './address-range.js';
import { memoryMistake, shareMistake } from './bytes.js';
import { parseCpuSet } from './profile-settings.js';
import type { Config, OptionConfig, OverrideConfig, ProfileConfig } from './schema.js';

type Path = readonly (string | number)[];
type Refuse = (path: Path, reason: string) => void;
type SettingsConfig = ProfileConfig | OverrideConfig | OptionConfig;

const MEMORY = [
  ['memory_max', memoryMistake],
  ['memory_high', memoryMistake],
  ['memory_low', shareMistake],
  ['swap_max', shareMistake],
] as const;

/** They choose what is executed, or are set by metalhub for each server (security.md S04). */
const REFUSED_VARIABLES = new Set([
  ...['HOME', 'USER', 'LOGNAME', 'SHELL', 'PATH', 'PWD', 'IFS', 'ENV', 'BASH_ENV', 'NODE_OPTIONS', 'NODE_PATH'],
  ...['PERL5LIB', 'PERL5OPT', 'RUBYOPT', 'RUBYLIB', 'JAVA_TOOL_OPTIONS', 'GCONV_PATH', 'LOCPATH', 'INVOCATION_ID'],
  ...['JOURNAL_STREAM', 'MAINPID', 'MANAGERPID', 'JUPYTER_RUNTIME_DIR', 'JUPYTER_TOKEN', 'STATE_DIRECTORY'],
]);
const REFUSED_PREFIXES = ['LD_', 'PYTHON', 'METALHUB_', 'LISTEN_', 'NOTIFY_', 'WATCHDOG_', 'CREDENTIALS_', 'SYSTEMD_'];

/** Where a mount would take the sandbox, the machine or metalhub itself away from under the server. */
const REFUSED_TARGETS = ['/proc', '/sys', '/dev', '/run', '/usr', '/etc', '/lib', '/lib64', '/bin', '/sbin'];
const METALHUB_PLACES = [
  ...['/run/', '/var/run/', '/usr/lib/metalhub/', '/lib/metalhub/', '/var/lib/private/', '/var/lib/metalhub/'],
  ...['/proc/', '/sys/'],
];

/** What the schema cannot say of profiles, without a look at the machine. */
export function checkProfiles({ profile }: Pick<Config, 'profile'>, refuse: Refuse): void {
  checkNames(profile, ['profile'], refuse);
  for (const [index, entry] of profile.entries()) {
    const where = ['profile', index];
    checkSettings(entry, where, refuse);
    checkNames(entry.override, [...where, 'override'], refuse);
    for (const [at, override] of entry.override.entries()) checkSettings(override, [...where, 'override', at], refuse);
    checkNames(entry.choice, [...where, 'choice'], refuse);
    for (const [at, choice] of entry.choice.entries()) {
      const options = [...where, 'choice', at, 'option'];
      checkNames(choice.option, options, refuse);
      for (const [number, option] of choice.option.entries()) checkSettings(option, [...options, number], refuse);
    }
  }
}

function checkNames(entries: readonly { name: string }[], where: Path, refuse: Refuse): void {
  const names = new Set<string>();
  for (const [index, { name }] of entries.entries()) {
    if (names.has(name)) refuse([...where, index, 'name'], `"${name}" is used twice`);
    names.add(name);
  }
}

function checkSettings(settings: SettingsConfig, where: Path, refuse: Refuse): void {
  checkLimits(settings, where, refuse);
  const { python, environment, root_directory, root_image, variables, mounts } = settings;
  if (environment && python !== undefined && python !== '/usr/bin/python3') {
    refuse([...where, 'python'], 'stands beside environment: give one of them');
  }
  if (root_directory && root_image) refuse([...where, 'root_image'], 'stands beside root_directory: give one of them');
  const reason = commandMistake(settings.command ?? []);
  if (reason !== undefined) refuse([...where, 'command'], reason);
  for (const [name, value] of Object.entries(variables ?? {})) {
    const reason = variableMistake(name, value);
    if (reason !== undefined) refuse([...where, 'variables', name], reason);
  }
  for (const [index, mount] of (mounts ?? []).entries()) {
    const reason = targetMistake(mount.target || mount.source);
    if (reason !== undefined) refuse([...where, 'mounts', index], reason);
  }
  for (const key of ['ip_allow', 'ip_deny'] as const) {
    for (const [index, range] of (settings[key] ?? []).entries()) {
      if (range !== 'any' && !isRange(range)) refuse([...where, key, index], `"${range}" is no address and no range`);
    }
  }
}

function checkLimits(settings: SettingsConfig, where: Path, refuse: Refuse): void {
  for (const [key, mistakeIn] of MEMORY) {
    const mistake = mistakeIn(settings[key] ?? '');
    if (mistake !== undefined) refuse([...where, key], mistake);
  }
  if (parseCpuSet(settings.cpu_set ?? '') === undefined)
    refuse([...where, 'cpu_set'], 'has a range that runs backwards');
}

function commandMistake([program, ...words]: readonly string[]): string | undefined {
  if (program === undefined) return undefined;
  if (!/^\/[^{}]*$/.test(program)) return 'must begin with the absolute path of a program';
  const places = ['{socket}', '{port}', '{fd}'].filter((place) => words.some((word) => word.includes(place)));
  return places.length === 1 ? undefined : 'must say where to listen by one of {socket}, {port} and {fd}';
}

function variableMistake(name: string, value: string): string | undefined {
  if (REFUSED_VARIABLES.has(name) || REFUSED_PREFIXES.some((prefix) => name.startsWith(prefix))) {
    return 'this variable cannot be set here';
  }
  return /\p{Cc}/u.test(value) ? 'has a line break or another control character' : undefined;
}

function targetMistake(target: string): string | undefined {
  if (target.split('/').some((part) => part === '.' || part === '..')) return `${target} has . or .. in it`;
  const path = target.replace(/\/+/g, '/').replace(/\/$/, '');
  // Above such a place it would be hidden, too.
  const isOurs = METALHUB_PLACES.some((place) => `${path}/`.startsWith(place) || place.startsWith(`${path}/`));
  return isOurs || REFUSED_TARGETS.includes(path) ? `nothing can be mounted at ${path || '/'}` : undefined;
}
