import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { kernelsOf } from '@metalhub/config/kernel-access.js';
import {
  type AccessTables,
  asksForGroups,
  type OfferedChoice,
  type OfferedProfile,
  type ProfileUser,
  profilesOf,
} from '@metalhub/config/profile-access.js';
import type { Config, OptionConfig } from '@metalhub/config/schema.js';
import { createCallGate } from '@metalhub/systemd/call-gate.js';
import type { User } from '../db/tables/users.js';

/** Names of the groups that somebody is in, as they are now. @throws {MetalhubError} nobody knows */
export type GroupsOf = (user: Pick<User, 'loginMethod' | 'name'>) => Promise<readonly string[]>;

/** Names of options by the name of the choice. */
export type Choices = Readonly<Record<string, string>>;

/** What somebody asks for; what is left out is as the last time. */
export interface WantedProfile {
  readonly profile?: string | undefined;
  readonly choices?: Choices | undefined;
}

/** What a server was started with until now. */
export interface Remembered {
  /** Of its last start. */
  readonly profile: string;
  /** By the name of the profile. */
  readonly choices: Readonly<Record<string, Choices>>;
}

/** What the spawner is asked for. */
export interface ChosenProfile {
  readonly profile: string;
  readonly override: string | undefined;
  readonly choices: Choices;
  /** Names of kernels and kernel roots. */
  readonly kernels: readonly string[];
}

/** A directory that does not answer keeps a thread for each: the database needs some of the pool, which has four. */
const MAX_LOOK_UPS = 2;

/** What was chosen the last time, or the first option. */
export function chosenOption({ name, options }: OfferedChoice, before: Choices): OptionConfig | undefined {
  return options.find((option) => Object.hasOwn(before, name) && option.name === before[name]) ?? options[0];
}

function noChoice({ name: profile }: OfferedProfile, choice: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_CHOICE', { details: { profile, choice } });
}

/** Who may start what. The spawner knows no logins: it takes any profile of root's configuration. */
export class Profiles {
  readonly #config: () => Config;
  readonly #groupsOf: GroupsOf;
  readonly #log: Log;
  readonly #gate = createCallGate(MAX_LOOK_UPS);
  /** Under way, by the number of the user. */
  readonly #lookUps = new Map<number, Promise<readonly string[]>>();

  constructor(config: () => Config, groupsOf: GroupsOf, log: Log) {
    this.#config = config;
    this.#groupsOf = groupsOf;
    this.#log = log;
  }

  /** What a user may start, in the order of the configuration; may be empty. */
  async of(user: User): Promise<OfferedProfile[]> {
    const config = this.#config();
    // Kernels matter at a start only.
    return profilesOf(config, await this.#subject(user, { ...config, kernel: [], kernel_root: [] }));
  }

  /**
   * What to start.
   * @param wanted asked for by name
   * @param last of the server's last start; counts as long as it is there and allowed
   * @throws {MH_ERR_SPAWN_PROFILE} {MH_ERR_SPAWN_CHOICE} {MH_ERR_HUB_PROFILE} {MH_ERR_HUB_NO_PROFILE}
   */
  async choose(user: User, wanted: WantedProfile, last: Remembered | undefined): Promise<ChosenProfile> {
    const config = this.#config();
    const subject = await this.#subject(user, config);
    const profile = this.#chooseProfile(user, profilesOf(config, subject), wanted.profile, last?.profile);
    const unknown = Object.keys(wanted.choices ?? {}).find(
      (asked) => !profile.choices.some(({ name }) => name === asked),
    );
    if (unknown !== undefined) throw noChoice(profile, unknown);
    const before = last?.choices[profile.name] ?? {};
    const choices: Record<string, string> = {};
    for (const choice of profile.choices) {
      const asked = wanted.choices?.[choice.name];
      const option = choice.options.find(({ name }) => name === asked) ?? chosenOption(choice, before);
      if (asked !== undefined && option?.name !== asked) throw noChoice(profile, asked);
      if (option !== undefined) choices[choice.name] = option.name;
    }
    const kernels = kernelsOf(config, subject, profile.name);
    return { profile: profile.name, override: profile.override, choices, kernels };
  }

  #chooseProfile(
    user: User,
    offered: readonly OfferedProfile[],
    wanted: string | undefined,
    last: string | undefined,
  ): OfferedProfile {
    const chosen = offered.find(({ name }) => name === (wanted ?? last));
    if (chosen !== undefined) return chosen;
    if (wanted !== undefined) throw this.#refuse(user, wanted);
    const [first] = offered;
    if (first !== undefined) return first;
    throw new MetalhubError('MH_ERR_HUB_NO_PROFILE', {
      details: { user: user.name },
      hint: 'the administrator decides it with allow in [[profile]] of metalhub.toml',
    });
  }

  #refuse(user: User, profile: string): MetalhubError {
    const isKnown = this.#config().profile.some(({ name }) => name === profile);
    if (!isKnown) return new MetalhubError('MH_ERR_SPAWN_PROFILE', { details: { profile } });
    this.#log.notice('profile refused', { user: user.name, profile });
    return new MetalhubError('MH_ERR_HUB_PROFILE', { details: { user: user.name, profile } });
  }

  async #subject(user: User, config: AccessTables): Promise<ProfileUser> {
    return { name: user.name, groups: asksForGroups(config) ? await this.#groups(user) : [] };
  }

  /** Whose groups cannot be looked up is in none. */
  #groups(user: User): Promise<readonly string[]> {
    const lookUp = this.#lookUps.get(user.id) ?? this.#lookUp(user).finally(() => this.#lookUps.delete(user.id));
    this.#lookUps.set(user.id, lookUp);
    return lookUp;
  }

  async #lookUp(user: User): Promise<readonly string[]> {
    try {
      return await this.#gate.run(() => this.#groupsOf(user));
    } catch (err) {
      this.#log.warning('groups of a user could not be looked up', { user: user.name, err });
      return [];
    }
  }
}
