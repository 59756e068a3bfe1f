import {
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
  bool,
  envStrv,
  execStartEx,
  listen,
  pairs,
  str,
  strv,
  type UnitProperty,
  u32,
  u64,
} from '@metalhub/systemd/unit-property.js';
import { hookProperties } from './hooks.js';
import { limitProperties, USEC_PER_SEC } from './limits.js';
import { formatLimits, liveLimitsOf } from './live-limits.js';
import { formatVariant, VARIANT_VARIABLE } from './profile-variant.js';
import { PROGRAMS } from './sandbox.js';
import type { ProfileVariant, SpawnerConfig, SpawnerProfile } from './spawner-config.js';
import { type UserUnitInput, userEnvironment, userUnitProperties } from './user-unit.js';

export const LAUNCHER = `${PROGRAMS}/launcher.py`;
/** Runs what is not JupyterLab. */
const ADAPTER = `${PROGRAMS}/adapter.py`;
const SYSTEM_PYTHON = '/usr/bin/python3';
/** Where the launcher finds it: `$CREDENTIALS_DIRECTORY/server.json`. */
export const CREDENTIAL_NAME = 'server.json';
export const START_ID_VARIABLE = 'METALHUB_START_ID';
export const PROFILE_VARIABLE = 'METALHUB_PROFILE';
/** The path of public_url, which an administrator wrote: the hub may have lost it, and the server cannot be told another. */
export const BASE_VARIABLE = 'METALHUB_BASE';
/** Seconds after which the launcher ends a server that hangs in its stop. */
const STOP_VARIABLE = 'METALHUB_STOP_SEC';
/** That much earlier than systemd does, or after half of a short time: then the unit has not failed. */
const STOP_AHEAD_SEC = 3;

/** What the unit was started with; see live-limits.ts. */
export const LIMITS_VARIABLE = 'METALHUB_LIMITS';

export interface ServerUnitInput extends UserUnitInput {
  readonly server: ServerName;
  /** 32 hex digits. */
  readonly startId: string;
  /** See `baseOf` in packages/wire spawner.ts. */
  readonly base: string;
  /** Root-only file with the token. */
  readonly credentialFile: string;
  /** What was chosen in the profile. */
  readonly variant: ProfileVariant;
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
      ...serviceProperties(input, socketUnit(id)),
      ...commandProperties(input),
      ...userUnitProperties(input),
      ...hookProperties(input.key, input.profile),
    ],
    auxiliary: [
      [socketUnit(id), socketProperties(id, service)],
      ...(input.makesSlice ? [[userSlice(input.key), sliceProperties(input.key, input.profile)] as const] : []),
    ],
  };
}

function serviceProperties({ key, server, timeouts }: ServerUnitInput, socket: string): UnitProperty[] {
  return [
    str('Description', `Jupyter server of ${serverId(key, server)}`),
    // Ready when the launcher says that the server accepts; the start job lasts until then.
    str('Type', 'notify'),
    str('NotifyAccess', 'main'),
    strv('Requires', [socket]),
    strv('After', [socket]),
    u64('TimeoutStartUSec', BigInt(timeouts.start_timeout_sec) * USEC_PER_SEC),
    u64('TimeoutStopUSec', BigInt(timeouts.stop_timeout_sec) * USEC_PER_SEC),
    // A failed unit stays until the spawner has read why it failed, and resets it.
    str('CollectMode', 'inactive'),
    str('SyslogIdentifier', 'jupyter'),
  ];
}

function commandProperties(input: ServerUnitInput): UnitProperty[] {
  const { startId, base, credentialFile, profile, variant, timeouts } = input;
  return [
    // What else a command says is in the credential: this line is the same for all of them.
    execStartEx(profile.command.length === 0 ? [profile.python, '-I', LAUNCHER] : [SYSTEM_PYTHON, '-I', ADAPTER]),
    pairs('LoadCredential', [[CREDENTIAL_NAME, credentialFile]]),
    envStrv('Environment', {
      ...userEnvironment(input),
      [START_ID_VARIABLE]: startId,
      [PROFILE_VARIABLE]: profile.name,
      [VARIANT_VARIABLE]: formatVariant(variant),
      // For hooks.
      METALHUB_USER: input.key,
      METALHUB_SERVER: input.server,
      [BASE_VARIABLE]: base,
      [LIMITS_VARIABLE]: formatLimits(liveLimitsOf(profile)),
      [STOP_VARIABLE]: String(stopPatienceSec(timeouts.stop_timeout_sec)),
    }),
  ];
}

function stopPatienceSec(stopTimeoutSec: number): number {
  return Math.max(stopTimeoutSec / 2, stopTimeoutSec - STOP_AHEAD_SEC);
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

export function sliceProperties(key: Key, profile: SpawnerProfile): UnitProperty[] {
  return [str('Description', `Jupyter servers of ${key}`), bool('StopWhenUnneeded', true), ...limitProperties(profile)];
}
