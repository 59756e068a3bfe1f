import { accountGroupNames, findAccount } from '@metalhub/systemd/accounts.js';
import type { GroupsOf } from './servers/profiles.js';

/** Groups of the machine that a user is in now; none for those who did not log in with an account of the machine. */
export const machineGroups: GroupsOf = async ({ loginMethod, name }) => {
  if (loginMethod !== 'pam') return [];
  const account = await findAccount(name);
  // NSS may fold case: another spelling is another user of the hub.
  return account?.name === name ? await accountGroupNames(account) : [];
};
