import { MetalhubError } from '@metalhub/base/errors.js';
import { accountGroups, findAccountByUid, findGroup } from '@metalhub/systemd/accounts.js';
import type { PeerCredentials } from '@metalhub/systemd/peer.js';

const ADMIN_GROUP = 'metalhub-admin';
/** They face visitors, or serve who does: were one of them put into the group, it would still not be an administrator. */
const DAEMONS = ['metalhub', 'metalhub-proxy', 'metalhub-logs'];

/**
 * Whether an administrator is at the other end. File permission has let them connect; asked again, because a process keeps
 * a group that its account has lost, and can hand a connection on.
 *
 * @throws {MH_ERR_WIRE_FORBIDDEN} {MH_ERR_SYSTEMD_LIBRARY}
 */
export async function requireAdministrator({ uid }: Pick<PeerCredentials, 'uid'>): Promise<void> {
  if (uid === 0) return;
  const [account, group] = await Promise.all([findAccountByUid(uid), findGroup(ADMIN_GROUP)]);
  if (account !== undefined && group !== undefined && !DAEMONS.includes(account.name)) {
    if ((await accountGroups(account.name, account.gid)).includes(group.gid)) return;
  }
  throw new MetalhubError('MH_ERR_WIRE_FORBIDDEN');
}
