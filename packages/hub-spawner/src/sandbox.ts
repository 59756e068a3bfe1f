import {
  allowList,
  bindMounts,
  bool,
  i32,
  pairs,
  property,
  str,
  strv,
  type UnitProperty,
  u32,
  u64,
} from '@metalhub/systemd/unit-property.js';
import { addressMasks } from './address-mask.js';
import { hiddenParent } from './local-home.js';
import type { SpawnerProfile } from './spawner-config.js';
import type { UserAccount } from './user-account.js';

/** Of Jupyter's kernels, in each unit its own. */
export const RUNTIME_DIRECTORY = '/run/jupyter';
/** Programs of ours that run in a server's unit. */
export const PROGRAMS = '/usr/lib/metalhub';

const EPERM = 1;
/** CLONE_NEWNS and the others of namespaces(7): all of them may be made. */
export const ALL_NAMESPACES = 0x7e02_0080n;

export interface SandboxInput {
  readonly account: UserAccount;
  readonly profile: SpawnerProfile;
}

/**
 * In which Jupyter, kernels, terminals, virtual environments and `multiprocessing` were seen to work; wider only where
 * root's profile says so.
 */
export function sandboxProperties(input: SandboxInput): UnitProperty[] {
  const { account, profile } = input;
  const isRelaxed = (what: SpawnerProfile['relax'][number]): boolean => profile.relax.includes(what);
  return [
    ...[
      ...['NoNewPrivileges', 'PrivateTmp', 'PrivateDevices', 'PrivateIPC', 'ProtectHostname', 'ProtectClock'],
      ...['ProtectKernelTunables', 'ProtectKernelModules', 'ProtectKernelLogs', 'ProtectControlGroups'],
      'RestrictSUIDSGID',
    ].map((name) => bool(name, true)),
    // Of an account of the machine other sessions may have some, and units have none outside of their own namespace.
    bool('RemoveIPC', !account.isLocal),
    bool('RestrictRealtime', !isRelaxed('realtime')),
    // Debuggers run programs without address space randomization.
    bool('LockPersonality', !isRelaxed('ptrace')),
    // The other homes are not even there.
    str('ProtectHome', account.isLocal ? 'tmpfs' : 'yes'),
    str('ProtectSystem', 'strict'),
    str('DevicePolicy', 'closed'),
    // Without ProcSubset=pid: it hides /proc/meminfo, and ps, free and psutil fail.
    str('ProtectProc', 'invisible'),
    str('KeyringMode', 'private'),
    ...(isRelaxed('other-architectures') ? [] : [strv('SystemCallArchitectures', ['native'])]),
    allowList('SystemCallFilter', [
      ...['@system-service', '@sandbox'],
      ...(isRelaxed('namespaces') ? ['@mount'] : []),
      ...(isRelaxed('ptrace') ? ['@debug'] : []),
    ]),
    i32('SystemCallErrorNumber', EPERM),
    u64('CapabilityBoundingSet', 0n),
    u64('AmbientCapabilities', 0n),
    u64('RestrictNamespaces', isRelaxed('namespaces') ? ALL_NAMESPACES : 0n),
    u32('UMask', 0o077),
    // systemd 257 mounts a dynamic user's state noexec: no script or virtual environment in the home would run.
    ...(account.isLocal || profile.home === 'ephemeral' ? [] : [strv('ExecPaths', [account.home])]),
    pairs('TemporaryFileSystem', [
      ['/dev/shm', 'mode=1777'],
      // Sockets of kernels. Not in the home, where a long key would make their paths longer than the 107 bytes that a
      // socket's may have; not in /tmp, which is cleaned of what is old.
      [RUNTIME_DIRECTORY, `mode=0700,uid=${account.uid},gid=${account.gid},size=16M,nr_inodes=16k`],
      ...hiddenHomes(input),
      ...ephemeralHome(input),
    ]),
    // By the bus an account of the machine gets a lingering `systemd --user`, outside of its server's sandbox and limits.
    strv('InaccessiblePaths', ['-/run/metalhub', '-/run/metalhub-spawner', ...(account.isLocal ? ['-/run/dbus'] : [])]),
    ...networkProperties(profile),
    ...rootProperties(profile),
    ...pathProperties(input),
  ];
}

/** What lies beside the home and is not hidden by `ProtectHome=`: homes of others, and the kept one of an ephemeral user. */
function hiddenHomes({ account: { isLocal, home }, profile }: SandboxInput): [string, string][] {
  const isHidden = isLocal || profile.home === 'ephemeral';
  const parent = isHidden ? hiddenParent(home) : undefined;
  return parent === undefined ? [] : [[parent, 'ro,mode=0755']];
}

/** Gone with the last process of its unit, whoever or whatever ends it: nothing has to clean up. */
function ephemeralHome({ account, profile }: SandboxInput): [string, string][] {
  if (profile.home !== 'ephemeral') return [];
  const { home, uid, gid } = account;
  const size = profile.memory_max_bytes === null ? '50%' : String(profile.memory_max_bytes);
  return [[home, `mode=0700,uid=${uid},gid=${gid},size=${size}`]];
}

function networkProperties({ network, ip_allow, ip_deny }: SpawnerProfile): UnitProperty[] {
  const rule = (name: string, ranges: readonly string[]): UnitProperty[] =>
    ranges.length === 0 ? [] : [property(name, 'a(iayu)', ranges.flatMap(addressMasks))];
  return [
    allowList('RestrictAddressFamilies', ['AF_UNIX', 'AF_INET', 'AF_INET6', 'AF_NETLINK']),
    // A loopback of its own is left to it, for applications that talk to themselves.
    ...(network === 'none' ? [bool('PrivateNetwork', true)] : []),
    ...rule('IPAddressDeny', ip_deny),
    ...rule('IPAddressAllow', ip_allow),
  ];
}

function rootProperties({ root_directory: directory, root_image: image }: SpawnerProfile): UnitProperty[] {
  if (directory === '' && image === '') return [];
  return [directory === '' ? str('RootImage', image) : str('RootDirectory', directory), bool('MountAPIVFS', true)];
}

/** What is added to the file system of a server. */
function pathProperties({ account, profile }: SandboxInput): UnitProperty[] {
  const { mounts, devices, root_directory, root_image } = profile;
  const isBound = account.isLocal && profile.home === 'kept';
  const home = isBound ? [{ source: account.home, destination: account.home }] : [];
  const bound = (write: boolean) =>
    mounts.filter((mount) => mount.write === write).map(({ source, target }) => ({ source, destination: target }));
  const nodes = devices.map((path) => ({ source: path, destination: path }));
  const isElsewhere = root_directory !== '' || root_image !== '';
  // Another system has neither our launcher nor, in its nss-systemd, the names of our accounts.
  const needed = isElsewhere ? [PROGRAMS, '/run/userdb'].map((path) => ({ source: path, destination: path })) : [];
  const writable = [...home, ...bound(true), ...nodes];
  const readOnly = [...bound(false), ...needed];
  return [
    ...(writable.length === 0 ? [] : [bindMounts('BindPaths', writable)]),
    ...(readOnly.length === 0 ? [] : [bindMounts('BindReadOnlyPaths', readOnly)]),
    ...(devices.length === 0
      ? []
      : [
          pairs(
            'DeviceAllow',
            devices.map((path) => [path, 'rw']),
          ),
        ]),
  ];
}
