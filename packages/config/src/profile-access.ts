import type { ChoiceConfig, Config, OptionConfig, ProfileConfig } from './schema.js';

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

/** A choice with the options that the user may take, at least one. */
export interface OfferedChoice {
  readonly name: string;
  readonly title: string;
  readonly options: readonly OptionConfig[];
}

/** A profile as one user may start it. */
export interface OfferedProfile {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  /** Name of the override that counts for them. */
  readonly override: string | undefined;
  readonly choices: readonly OfferedChoice[];
}

/** The profiles that a user may use, in the order of the configuration. */
export function profilesOf({ profile }: Pick<Config, 'profile'>, user: ProfileUser): OfferedProfile[] {
  return profile
    .filter(({ allow }) => isAllowed(allow, user))
    .map((entry) => ({
      name: entry.name,
      title: entry.title,
      description: entry.description,
      override: findOverride(entry, user),
      choices: entry.choice.flatMap((choice) => offer(choice, user)),
    }));
}

/** Whether anything in the profiles depends on groups. */
export function asksForGroups({ profile }: Pick<Config, 'profile'>): boolean {
  const names = ({ groups }: ProfileConfig['allow']): boolean => groups.length > 0;
  return profile.some(
    ({ allow, override, choice }) =>
      names(allow) || override.some(names) || choice.some(({ option }) => option.some((entry) => names(entry.allow))),
  );
}

/** The first in the file that names the user or one of their groups; one that names nobody is for nobody. */
function findOverride({ override }: ProfileConfig, user: ProfileUser): string | undefined {
  return override.find(
    ({ users, groups }) => users.includes(user.name) || groups.some((group) => user.groups.includes(group)),
  )?.name;
}

function offer({ name, title, option }: ChoiceConfig, user: ProfileUser): OfferedChoice[] {
  const options = option.filter(({ allow }) => isAllowed(allow, user));
  return options.length === 0 ? [] : [{ name, title, options }];
}
