import type { Config } from './schema.js';

/**
 * As whom servers run: an account of their own that systemd makes, the one of the machine that somebody logged in with, or
 * one of the machine that is made for them.
 */
export const ACCOUNT_MODES = ['dynamic', 'local', 'create'] as const;
export type AccountMode = (typeof ACCOUNT_MODES)[number];

/**
 * Groups whose members can become root, read everybody's files or everybody's sessions. Who is in one may have no server of
 * a local account, unless accounts.privileged_groups names the group: what a browser reaches should not have such power.
 */
export const PRIVILEGED_GROUPS: readonly string[] = [
  ...['root', 'sudo', 'wheel', 'admin', 'adm', 'staff', 'operator', 'backup', 'disk', 'shadow', 'kmem', 'tty'],
  ...['docker', 'podman', 'lxd', 'incus', 'incus-admin', 'libvirt', 'netdev', 'lpadmin', 'ssl-cert'],
  ...['systemd-journal', 'systemd-network', 'systemd-resolve'],
  ...['metalhub', 'metalhub-proxy', 'metalhub-logs', 'metalhub-admin'],
];

type Refuse = (path: readonly (string | number)[], reason: string) => void;

/** What the schema cannot say of accounts. */
export function checkAccounts({ accounts, login, profile }: Config, refuse: Refuse): void {
  if (accounts.uid_min > accounts.uid_max) {
    refuse(['accounts', 'uid_max'], `must not be less than accounts.uid_min (${accounts.uid_min})`);
  }
  for (const [index, group] of accounts.privileged_groups.entries()) {
    if (PRIVILEGED_GROUPS.includes(group)) continue;
    const known = PRIVILEGED_GROUPS.join(', ');
    refuse(['accounts', 'privileged_groups', index], `members of "${group}" are not refused; of ${known} they are`);
  }
  const modes = modesOf(profile);
  // Only PAM speaks of accounts of the machine.
  if (!login.some(({ method }) => method === 'pam')) {
    const reason = 'local accounts need a [[login]] with method = "pam"';
    if (accounts.mode === 'local') refuse(['accounts', 'mode'], reason);
    for (const { path, mode } of modes) if (mode === 'local') refuse(path, reason);
  }
  // Both have the same name and number.
  const usual = profile.some(({ account_mode: mode }) => mode === '') ? [accounts.mode] : [];
  const used = new Set([...usual, ...modes.map(({ mode }) => mode)]);
  if (used.has('dynamic') && used.has('create')) {
    refuse(
      modes.find(({ mode }) => mode !== 'local')?.path ?? ['accounts', 'mode'],
      'a user cannot have a dynamic and a created account: profiles have one of both modes, beside local',
    );
  }
}

/** Whether a server may run in one of these ways. */
export function usesMode(
  { accounts, profile }: Pick<Config, 'accounts' | 'profile'>,
  ...wanted: AccountMode[]
): boolean {
  return [accounts.mode, ...modesOf(profile).map(({ mode }) => mode)].some((mode) =>
    wanted.some((one) => one === mode),
  );
}

/** Those that profiles, overrides and options name. */
function modesOf(profiles: Config['profile']): { path: (string | number)[]; mode: string }[] {
  return profiles.flatMap((entry, index) => {
    const where = ['profile', index];
    const parts: (readonly [readonly (string | number)[], { account_mode?: string }])[] = [
      [where, entry],
      ...entry.override.map((override, at) => [[...where, 'override', at], override] as const),
      ...entry.choice.flatMap(({ option }, at) =>
        option.map((one, number) => [[...where, 'choice', at, 'option', number], one] as const),
      ),
    ];
    return parts.flatMap(([path, { account_mode: mode }]) =>
      mode === undefined || mode === '' ? [] : [{ path: [...path, 'account_mode'], mode }],
    );
  });
}
