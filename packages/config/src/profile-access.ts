import type { ChoiceConfig, Config, OptionConfig, ProfileConfig } from './schema.js';

export type AccessTables = Pick<Config, 'profile' | 'kernel' | 'kernel_root' | 'hub'>;
type Allow = ProfileConfig['allow'];

/** What decides which profiles somebody may use. */
export interface ProfileUser {
  /** Login name. */
  readonly name: string;
  /** Names of the groups that they are in. */
  readonly groups: readonly string[];
}

/** Whether an `allow` table that stands for everybody when it is empty lets this user in. */
export function isAllowed(allow: Allow, user: ProfileUser, config: Pick<Config, 'hub'>): boolean {
  const isEmpty = allow.users.length === 0 && allow.groups.length === 0 && allow.roles.length === 0;
  return isEmpty || isNamed(allow, user, config);
}

/** By name, group or role. Who is an administrator is read from the configuration, not remembered from a login. */
function isNamed(
  { users, groups, roles }: Allow,
  user: ProfileUser,
  { hub: { admins } }: Pick<Config, 'hub'>,
): boolean {
  const isIn = (names: Pick<Allow, 'users' | 'groups'>): boolean =>
    names.users.includes(user.name) || names.groups.some((group) => user.groups.includes(group));
  return isIn({ users, groups }) || roles.includes('user') || (roles.includes('admin') && isIn(admins));
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
  /** Name of the override that counts for them: the first in the file that names them; one that names nobody is for nobody. */
  readonly override: string | undefined;
  readonly choices: readonly OfferedChoice[];
}

/** The profiles that a user may use, in the order of the configuration. */
export function profilesOf(config: Pick<Config, 'profile' | 'hub'>, user: ProfileUser): OfferedProfile[] {
  return config.profile
    .filter(({ allow }) => isAllowed(allow, user, config))
    .map((entry) => ({
      name: entry.name,
      title: entry.title,
      description: entry.description,
      override: entry.override.find((override) => isNamed(override, user, config))?.name,
      choices: entry.choice.flatMap((choice) => offer(choice, user, config)),
    }));
}

/** Whether anything in the profiles or kernels depends on groups. */
export function asksForGroups({ profile, kernel, kernel_root, hub }: AccessTables): boolean {
  const isAdminByGroup = hub.admins.groups.length > 0;
  const names = ({ groups, roles }: Allow): boolean => groups.length > 0 || (isAdminByGroup && roles.includes('admin'));
  return (
    [...kernel, ...kernel_root].some(({ allow }) => names(allow)) ||
    profile.some(
      ({ allow, override, choice }) =>
        names(allow) || override.some(names) || choice.some(({ option }) => option.some((entry) => names(entry.allow))),
    )
  );
}

function offer({ name, title, option }: ChoiceConfig, user: ProfileUser, config: Pick<Config, 'hub'>): OfferedChoice[] {
  const options = option.filter(({ allow }) => isAllowed(allow, user, config));
  return options.length === 0 ? [] : [{ name, title, options }];
}
