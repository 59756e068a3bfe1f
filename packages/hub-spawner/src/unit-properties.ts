import {
  accountName,
  homePath,
  type Key,
  type ServerName,
  serverId,
  serverSocketPath,
  serviceUnit,
  socketUnit,
  userSlice,
} from '@metalhub/base/names.js';
import type { AuxiliaryUnit } from '@metalhub/systemd/manager.js';
import {
  allowList,
  bool,
  envStrv,
  execStartEx,
  i32,
  listen,
  pairs,
  str,
  strv,
  U64_INFINITY,
  type UnitProperty,
  u32,
  u64,
} from '@metalhub/systemd/unit-property.js';
import type { SpawnerConfig, SpawnerProfile } from './spawner-config.js';

export const LAUNCHER = '/usr/lib/metalhub/launcher.py';
/** Where the launcher finds it: `$CREDENTIALS_DIRECTORY/server.json`. */
export const CREDENTIAL_NAME = 'server.json';
export const START_ID_VARIABLE = 'METALHUB_START_ID';
export const PROFILE_VARIABLE = 'METALHUB_PROFILE';
/** Seconds after which the launcher ends a server that hangs in its stop. */
const STOP_VARIABLE = 'METALHUB_STOP_SEC';
/** That much earlier than systemd does, or after half of a short time: then the unit has not failed. */
const STOP_AHEAD_SEC = 3;

export const LIMITS = ['MemoryMax', 'MemoryHigh', 'CPUQuotaPerSecUSec', 'TasksMax'] as const;

const USEC_PER_SEC = 1_000_000n;
const EPERM = 1;
const RUNTIME_DIRECTORY = '/run/jupyter';

export interface ServerUnitInput {
  readonly key: Key;
  readonly server: ServerName;
  /** Leased to the key; also the gid. */
  readonly uid: number;
  /** 32 hex digits. */
  readonly startId: string;
  /** Root-only file with the token. */
  readonly credentialFile: string;
  readonly profile: SpawnerProfile;
  readonly timeouts: SpawnerConfig['server'];
  /** Also make the user's slice, one that ends with their last server. */
  readonly makesSlice: boolean;
}

export interface ServerUnits {
  readonly service: string;
  readonly properties: readonly UnitProperty[];
  readonly auxiliary: readonly AuxiliaryUnit[];
}

/**
 * Everything systemd is told about a server. No text of a user is in it: only the key, the server's name, numbers, and
 * what root wrote into the configuration.
 */
export function serverUnits(input: ServerUnitInput): ServerUnits {
  const id = serverId(input.key, input.server);
  const service = serviceUnit(id);
  return {
    service,
    properties: [
      ...identityProperties(input, socketUnit(id)),
      ...commandProperties(input),
      ...limitProperties(input.profile),
      ...sandboxProperties(input),
    ],
    auxiliary: [
      [socketUnit(id), socketProperties(id, service)],
      ...(input.makesSlice ? [[userSlice(input.key), sliceProperties(input.key, input.profile)] as const] : []),
    ],
  };
}

function identityProperties({ key, server, timeouts }: ServerUnitInput, socket: string): UnitProperty[] {
  return [
    str('Description', `Jupyter server of ${serverId(key, server)}`),
    // Ready when the launcher says that the server accepts; the start job lasts until then.
    str('Type', 'notify'),
    str('NotifyAccess', 'main'),
    bool('DynamicUser', true),
    str('User', accountName(key)),
    str('Slice', userSlice(key)),
    strv('StateDirectory', [`metalhub/home/${key}`]),
    u32('StateDirectoryMode', 0o700),
    str('WorkingDirectory', homePath(key)),
    strv('Requires', [socket]),
    strv('After', [socket]),
    u64('TimeoutStartUSec', BigInt(timeouts.start_timeout_sec) * USEC_PER_SEC),
    u64('TimeoutStopUSec', BigInt(timeouts.stop_timeout_sec) * USEC_PER_SEC),
    // A failed unit stays until the spawner has read why it failed, and resets it.
    str('CollectMode', 'inactive'),
    // A kernel that takes too much memory is killed, the server tells its user.
    str('OOMPolicy', 'continue'),
    str('SyslogIdentifier', 'jupyter'),
  ];
}

function commandProperties({ key, uid, startId, credentialFile, profile, timeouts }: ServerUnitInput): UnitProperty[] {
  const home = homePath(key);
  const account = accountName(key);
  return [
    execStartEx([profile.python, '-I', LAUNCHER]),
    pairs('LoadCredential', [[CREDENTIAL_NAME, credentialFile]]),
    // Readable by every local user: nothing secret.
    envStrv('Environment', {
      [START_ID_VARIABLE]: startId,
      [PROFILE_VARIABLE]: profile.name,
      [STOP_VARIABLE]: String(stopPatienceSec(timeouts.stop_timeout_sec)),
      HOME: home,
      USER: account,
      LOGNAME: account,
      SHELL: '/bin/bash',
      LANG: 'C.UTF-8',
      PATH: `${home}/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games`,
      JUPYTER_RUNTIME_DIR: RUNTIME_DIRECTORY,
    }),
    pairs('TemporaryFileSystem', [
      ['/dev/shm', 'mode=1777'],
      // Sockets of kernels. Not in the home, where a long key would make their paths longer than the 107 bytes that a
      // socket's may have; not in /tmp, which is cleaned of what is old.
      [RUNTIME_DIRECTORY, `mode=0700,uid=${uid},gid=${uid},size=16M,nr_inodes=16k`],
    ]),
  ];
}

function stopPatienceSec(stopTimeoutSec: number): number {
  return Math.max(stopTimeoutSec / 2, stopTimeoutSec - STOP_AHEAD_SEC);
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

function limitProperties(profile: SpawnerProfile): UnitProperty[] {
  const values = limitValues(profile);
  return LIMITS.map((name) => u64(name, values[name]));
}

function bytesOrInfinity(bytes: number | null): bigint {
  return bytes === null ? U64_INFINITY : BigInt(bytes);
}

/** In which Jupyter, kernels, terminals, virtual environments and `multiprocessing` were seen to work. */
function sandboxProperties({ key }: ServerUnitInput): UnitProperty[] {
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
    strv('InaccessiblePaths', ['-/run/metalhub', '-/run/metalhub-spawner']),
  ];
}

function socketProperties(id: ReturnType<typeof serverId>, service: string): UnitProperty[] {
  return [
    str('Description', `Socket of the Jupyter server of ${id}`),
    listen([['Stream', serverSocketPath(id)]]),
    u32('SocketMode', 0o660),
    str('SocketUser', 'root'),
    str('SocketGroup', 'metalhub-proxy'),
    bool('RemoveOnStop', true),
    // Without it a pending connection would start an ended server again, behind the hub's back.
    strv('BindsTo', [service]),
    str('CollectMode', 'inactive-or-failed'),
  ];
}

function sliceProperties(key: Key, profile: SpawnerProfile): UnitProperty[] {
  return [str('Description', `Jupyter servers of ${key}`), bool('StopWhenUnneeded', true), ...limitProperties(profile)];
}
