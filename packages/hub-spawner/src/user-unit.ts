import { dirname } from 'node:path';
import { accountName, homePath, type Key, userSlice } from '@metalhub/base/names.js';
import { bool, str, strv, type UnitProperty, u32 } from '@metalhub/systemd/unit-property.js';
import { serviceLimits } from './limits.js';
import { RUNTIME_DIRECTORY, sandboxProperties } from './sandbox.js';
import type { SpawnerProfile } from './spawner-config.js';

const DISTRIBUTION_BIN = '/usr/bin';

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
  return [...identityProperties(input), ...serviceLimits(input.profile), ...sandboxProperties(input)];
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
export function userEnvironment({ key, profile }: UserUnitInput): Record<string, string> {
  const home = homePath(key);
  const account = accountName(key);
  const bin = dirname(profile.python);
  return {
    // Below the others: what metalhub sets stays.
    LANG: 'C.UTF-8',
    ...profile.variables,
    HOME: home,
    USER: account,
    LOGNAME: account,
    SHELL: '/bin/bash',
    PATH: [
      `${home}/.local/bin`,
      ...(bin === DISTRIBUTION_BIN ? [] : [bin]),
      '/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games',
    ].join(':'),
    JUPYTER_RUNTIME_DIR: RUNTIME_DIRECTORY,
  };
}
