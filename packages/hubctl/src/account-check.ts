import { existsSync } from 'node:fs';
import { usesMode } from '@metalhub/config/account-modes.js';
import type { Config } from '@metalhub/config/schema.js';
import { type MachineFinding, missingGroups, type ProfileMachine } from './profile-check.js';

const PAM_SERVICE = '/etc/pam.d/metalhub-session';

/** Compares what the configuration says of accounts with the machine. */
export async function checkAccounts(
  { accounts, profile }: Pick<Config, 'accounts' | 'profile'>,
  machine: Pick<ProfileMachine, 'hasGroup'>,
  exists: (path: string) => boolean = existsSync,
): Promise<MachineFinding[]> {
  const findings = await missingGroups(['accounts', 'privileged_groups'], accounts.privileged_groups, machine);
  const isLocal = usesMode({ accounts, profile }, 'local', 'create');
  if (isLocal && !exists(PAM_SERVICE)) {
    const reason = `local accounts need ${PAM_SERVICE}, which is missing`;
    findings.push({ isProblem: true, path: ['accounts', 'mode'], reason });
  }
  return findings;
}
