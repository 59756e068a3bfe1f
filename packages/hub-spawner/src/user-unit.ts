import { accountName, homePath, type Key, userSlice } from '@metalhub/base/names.js';
import {
  allowList,
  bool,
  i32,
  pairs,
  str,
  strv,
  U64_INFINITY,
  type UnitProperty,
  u32,
  u64,
} from '@metalhub/systemd/unit-property.js';
import type { SpawnerProfile } from './spawner-config.js';

export const LIMITS = ['MemoryMax', 'MemoryHigh', 'CPUQuotaPerSecUSec', 'TasksMax'] as const;

const USEC_PER_SEC = 1_000_000n;
const EPERM = 1;
const RUNTIME_DIRECTORY = '/run/jupyter';

export interface UserUnitInput {
  readonly key: Key;
  /** Leased to the key; also the gid. */
  readonly uid: number;
  readonly profile: SpawnerProfile;
}

/**
 * What every unit of a user has, whatever it runs: account, slice, home, limits and sandbox. Not among it: type,
 * command, environment ({@link userEnvironment}), time-outs.
 *
 * The account's name must be the same in all of them: of two names at one home, systemd 252 would give the home to the
 * one that started last.
 */
export function userUnitProperties(input: UserUnitInput): UnitProperty[] {
  return [...identityProperties(input), ...limitProperties(input.profile), ...sandboxProperties(input)];
}

function identityProperties({ key }: UserUnitInput): UnitProperty[] {
  return [
    bool('DynamicUser', true),
    str('User', accountName(key)),
    str('Slice', userSlice(key)),
    strv('StateDirectory', [`metalhub/home/${key}`]),
    u32('StateDirectoryMode', 0o700),
    str('WorkingDirectory', homePath(key)),
    // A process that takes too much memory is killed, the others stay.
    str('OOMPolicy', 'continue'),
  ];
}

/** Variables of every unit of a user. Readable by every local user: nothing secret. */
export function userEnvironment({ key }: UserUnitInput): Record<string, string> {
  const home = homePath(key);
  const account = accountName(key);
  return {
    HOME: home,
    USER: account,
    LOGNAME: account,
    SHELL: '/bin/bash',
    LANG: 'C.UTF-8',
    PATH: `${home}/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games`,
    JUPYTER_RUNTIME_DIR: RUNTIME_DIRECTORY,
  };
}

/**
 * Limits as systemd names them, infinity as its own number: of the server, and of the user's slice, so that several
 * servers of one user add up.
 */
export function limitValues(profile: SpawnerProfile): Readonly<Record<(typeof LIMITS)[number], bigint>> {
  const cpu = profile.cpu_quota_percent;
  return {
    MemoryMax: bytesOrInfinity(profile.memory_max_bytes),
    MemoryHigh: bytesOrInfinity(profile.memory_high_bytes),
    CPUQuotaPerSecUSec: cpu === 0 ? U64_INFINITY : (BigInt(cpu) * USEC_PER_SEC) / 100n,
    TasksMax: BigInt(profile.tasks_max),
  };
}

export function limitProperties(profile: SpawnerProfile): UnitProperty[] {
  const values = limitValues(profile);
  return LIMITS.map((name) => u64(name, values[name]));
}

function bytesOrInfinity(bytes: number | null): bigint {
  return bytes === null ? U64_INFINITY : BigInt(bytes);
}

/** In which Jupyter, kernels, terminals, virtual environments and `multiprocessing` were seen to work. */
function sandboxProperties({ key, uid }: UserUnitInput): UnitProperty[] {
  return [
    ...[
      ...['NoNewPrivileges', 'PrivateTmp', 'PrivateDevices', 'PrivateIPC', 'ProtectHostname', 'ProtectClock'],
      ...['ProtectKernelTunables', 'ProtectKernelModules', 'ProtectKernelLogs', 'ProtectControlGroups'],
      ...['RestrictRealtime', 'RestrictSUIDSGID', 'LockPersonality', 'RemoveIPC'],
    ].map((name) => bool(name, true)),
    str('ProtectHome', 'yes'),
    str('ProtectSystem', 'strict'),
    str('DevicePolicy', 'closed'),
    // Without ProcSubset=pid: it hides /proc/meminfo, and ps, free and psutil fail.
    str('ProtectProc', 'invisible'),
    str('KeyringMode', 'private'),
    strv('SystemCallArchitectures', ['native']),
    allowList('SystemCallFilter', ['@system-service', '@sandbox']),
    i32('SystemCallErrorNumber', EPERM),
    allowList('RestrictAddressFamilies', ['AF_UNIX', 'AF_INET', 'AF_INET6', 'AF_NETLINK']),
    u64('CapabilityBoundingSet', 0n),
    u64('AmbientCapabilities', 0n),
    // No kind of namespace may be made.
    u64('RestrictNamespaces', 0n),
    u32('UMask', 0o077),
    // systemd 257 mounts a dynamic user's state noexec: no script or virtual environment in the home would run.
    strv('ExecPaths', [homePath(key)]),
    pairs('TemporaryFileSystem', [
      ['/dev/shm', 'mode=1777'],
      // Sockets of kernels. Not in the home, where a long key would make their paths longer than the 107 bytes that a
      // socket's may have; not in /tmp, which is cleaned of what is old.
      [RUNTIME_DIRECTORY, `mode=0700,uid=${uid},gid=${uid},size=16M,nr_inodes=16k`],
    ]),
    strv('InaccessiblePaths', ['-/run/metalhub', '-/run/metalhub-spawner']),
  ];
}
