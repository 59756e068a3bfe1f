import type { Config, ProfileConfig } from './schema.js';

/** What decides which profiles somebody may use. */
export interface ProfileUser {
  /** Login name. */
  readonly name: string;
  /** Names of the groups that they are in. */
  readonly groups: readonly string[];
}

/** Whether an `allow` table that stands for everybody when it is empty lets this user in. */
export function isAllowed({ users, groups }: ProfileConfig['allow'], user: ProfileUser): boolean {
  if (users.length === 0 && groups.length === 0) return true;
  return users.includes(user.name) || groups.some((group) => user.groups.includes(group));
}

/** The profiles that a user may use, in the order of the configuration. */
export function profilesOf({ profile }: Pick<Config, 'profile'>, user: ProfileUser): ProfileConfig[] {
  return profile.filter(({ allow }) => isAllowed(allow, user));
}
