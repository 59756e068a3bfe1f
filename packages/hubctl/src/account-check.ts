import { existsSync } from 'node:fs';
import { usesMode } from '@metalhub/config/account-modes.js';
import type { Config } from '@metalhub/config/schema.js';
import type { ProfileFinding, ProfileMachine } from './profile-check.js';

const PAM_SERVICE = '/etc/pam.d/metalhub-session';

/** Compares what the configuration says of accounts with the machine. */
export async function checkAccounts(
  { accounts, profile }: Pick<Config, 'accounts' | 'profile'>,
  { hasGroup }: Pick<ProfileMachine, 'hasGroup'>,
  exists: (path: string) => boolean = existsSync,
): Promise<ProfileFinding[]> {
  const path = ['accounts', 'privileged_groups'];
  const groups = accounts.privileged_groups;
  const known = await Promise.all(groups.map((group) => hasGroup(group)));
  const findings: ProfileFinding[] = groups.flatMap((group, at) =>
    known[at] === true ? [] : [{ isProblem: false, path: [...path, at], reason: `there is no group ${group}` }],
  );
  const isLocal = usesMode({ accounts, profile }, 'local', 'create');
  if (isLocal && !exists(PAM_SERVICE)) {
    const reason = `local accounts need ${PAM_SERVICE}, which is missing`;
    findings.push({ isProblem: true, path: ['accounts', 'mode'], reason });
  }
  return findings;
}
