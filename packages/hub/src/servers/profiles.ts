import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { profilesOf } from '@metalhub/config/profile-access.js';
import type { Config, ProfileConfig } from '@metalhub/config/schema.js';
import type { User } from '../db/tables/users.js';

/** Names of the groups that somebody is in, as they are now. @throws {MetalhubError} nobody knows */
export type GroupsOf = (user: Pick<User, 'loginMethod' | 'name'>) => Promise<readonly string[]>;

/** Who may start what. The spawner knows no logins: it takes any profile of root's configuration. */
export class Profiles {
  readonly #config: () => Config;
  readonly #groupsOf: GroupsOf;
  readonly #log: Log;

  constructor(config: () => Config, groupsOf: GroupsOf, log: Log) {
    this.#config = config;
    this.#groupsOf = groupsOf;
    this.#log = log;
  }

  /** What a user may start, in the order of the configuration; may be empty. */
  async of(user: User): Promise<ProfileConfig[]> {
    const config = this.#config();
    const asksForGroups = config.profile.some(({ allow }) => allow.groups.length > 0);
    return profilesOf(config, { name: user.name, groups: asksForGroups ? await this.#groups(user) : [] });
  }

  /**
   * The profile to start.
   * @param wanted asked for by name
   * @param last of the server's last start; counts as long as it is there and allowed
   * @throws {MH_ERR_SPAWN_PROFILE} {MH_ERR_HUB_PROFILE} {MH_ERR_HUB_NO_PROFILE}
   */
  async choose(user: User, wanted: string | undefined, last: string | undefined): Promise<ProfileConfig> {
    const offered = await this.of(user);
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

  /** Whose groups cannot be looked up is in none. */
  async #groups(user: User): Promise<readonly string[]> {
    try {
      return await this.#groupsOf(user);
    } catch (err) {
      this.#log.warning('groups of a user could not be looked up', { user: user.name, err });
      return [];
    }
  }
}
