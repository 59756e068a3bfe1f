import { dirname } from 'node:path';
import { type Key, userSlice } from '@metalhub/base/names.js';
import { bool, str, strv, type UnitProperty, u32 } from '@metalhub/systemd/unit-property.js';
import { serviceLimits } from './limits.js';
import { RUNTIME_DIRECTORY, sandboxProperties } from './sandbox.js';
import type { SpawnerProfile } from './spawner-config.js';
import { LOCAL_SESSION, type UserAccount } from './user-account.js';

const DISTRIBUTION_BIN = '/usr/bin';

export interface UserUnitInput {
  readonly key: Key;
  readonly account: UserAccount;
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

function identityProperties({ key, account, profile }: UserUnitInput): UnitProperty[] {
  return [
    bool('DynamicUser', !account.isLocal),
    // By its name, never its number: systemd looks its groups up by that. Whether the number is right is seen afterwards.
    str('User', account.name),
    str('Slice', userSlice(key)),
    // Limits, locale, umask and what else root wants of a session.
    ...(account.isLocal ? [str('PAMName', LOCAL_SESSION)] : []),
    ...(isOurHome(account, profile)
      ? [strv('StateDirectory', [`metalhub/home/${key}`]), u32('StateDirectoryMode', 0o700)]
      : []),
    str('WorkingDirectory', account.home),
    // A process that takes too much memory is killed, the others stay.
    str('OOMPolicy', 'continue'),
  ];
}

/** Whether a unit has the home that systemd keeps for a dynamic user: one that may have to be repaired. */
export function isOurHome({ isLocal }: UserAccount, { home }: Pick<SpawnerProfile, 'home'>): boolean {
  return !isLocal && home === 'kept';
}

/** Variables of every unit of a user. Readable by every local user: nothing secret. */
export function userEnvironment({ account, profile }: UserUnitInput): Record<string, string> {
  const { name, home, shell } = account;
  const bin = dirname(profile.python);
  return {
    // Below the others: what metalhub sets stays.
    LANG: 'C.UTF-8',
    ...profile.variables,
    HOME: home,
    USER: name,
    LOGNAME: name,
    SHELL: shell,
    PATH: [
      `${home}/.local/bin`,
      ...(bin === DISTRIBUTION_BIN ? [] : [bin]),
      '/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games',
    ].join(':'),
    JUPYTER_RUNTIME_DIR: RUNTIME_DIRECTORY,
  };
}
