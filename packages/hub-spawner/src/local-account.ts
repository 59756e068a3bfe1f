import { MetalhubError } from '@metalhub/base/errors.js';
import type { Identity } from '@metalhub/base/names.js';
import { PRIVILEGED_GROUPS } from '@metalhub/config/account-modes.js';
import { findRefusal, shellOf } from '@metalhub/config/account-rules.js';
import { readShells } from '@metalhub/config/shells.js';
import { type Account, accountGroupNames, findAccount, findAccountByUid } from '@metalhub/systemd/accounts.js';
import { homeMistake } from './local-home.js';
import type { SpawnerConfig } from './spawner-config.js';
import type { UserAccount } from './user-account.js';

/** As systemd takes the name of an account: a number would be a uid to it. Printable, so that it can stand in a unit. */
const ACCOUNT_PATTERN = /^(?![0-9]+$)[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,255}$/;

/** What the machine says of its accounts: NSS, so that those of a directory (SSSD, LDAP) count like those in a file. */
export interface LocalLookups {
  findAccount: typeof findAccount;
  findAccountByUid: typeof findAccountByUid;
  accountGroupNames: typeof accountGroupNames;
  readShells: typeof readShells;
}

export const localLookups: LocalLookups = { findAccount, findAccountByUid, accountGroupNames, readShells };

/**
 * The account of the machine that a login is for. It may run servers when root's configuration lets it log in and it has no
 * power over the machine. The hub is not believed: this holds also when it was taken over.
 *
 * @throws {MH_ERR_SPAWN_LOCAL_LOGIN} {MH_ERR_SPAWN_LOCAL} {MH_ERR_SYSTEMD_LIBRARY} nobody knows
 */
export async function findLocalAccount(
  identity: Identity,
  rules: SpawnerConfig['local'],
  lookups: LocalLookups = localLookups,
): Promise<UserAccount> {
  const name = localName(identity);
  if (name === undefined) {
    throw new MetalhubError('MH_ERR_SPAWN_LOCAL_LOGIN', {
      details: { method: identity.slice(0, identity.indexOf(':')) },
      hint: 'only logins with the machine\'s password have one; for others give a profile account_mode = "dynamic"',
    });
  }
  if (!ACCOUNT_PATTERN.test(name))
    throw refusal('', 'its name has characters that systemd does not take, or is a number');
  const account = await lookups.findAccount(name);
  const groups = account?.name === name ? await lookups.accountGroupNames(account) : [];
  const reason =
    findRefusal({ name, account, groups, shells: lookups.readShells() }, rules.login ?? undefined) ??
    privilegeOf(groups, rules) ??
    (account === undefined ? undefined : await ambiguityOf(account, lookups));
  if (account === undefined || reason !== undefined) throw refusal(name, reason ?? 'the machine has no such account');
  const mistake = homeMistake(account.home);
  if (mistake !== undefined) throw homeRefusal(account.home, mistake);
  const { uid, gid, home } = account;
  return { name, uid, gid, home, shell: shellOf(account), isLocal: true };
}

/** The account that a login is for: of PAM the one of the same name; nobody has said so of any other. */
export function localName(identity: Identity): string | undefined {
  return identity.startsWith('pam:') ? identity.slice('pam:'.length) : undefined;
}

/** What gives it power over the machine; `undefined` when nothing does, or root has said that it may. */
export function privilegeOf(
  groups: readonly string[],
  { privileged_groups: allowed }: SpawnerConfig['local'],
): string | undefined {
  const group = groups.find((name) => PRIVILEGED_GROUPS.includes(name) && !allowed.includes(name));
  return group === undefined ? undefined : `it is in group ${group}, which gives power over the machine`;
}

/** Files know the number only: of two accounts with one number each could use what is the other's. */
export async function ambiguityOf(
  { name, uid }: Account,
  lookups: Pick<LocalLookups, 'findAccountByUid'>,
): Promise<string | undefined> {
  const other = await lookups.findAccountByUid(uid);
  return other?.name === name ? undefined : `uid ${uid} is that of ${other?.name ?? 'nobody'}`;
}

function refusal(account: string, reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_LOCAL', {
    details: { account, reason },
    hint: 'the administrator decides it with [[login]] and accounts.privileged_groups in metalhub.toml',
  });
}

function homeRefusal(path: string, reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_HOME', { details: { path, reason }, hint: 'see: getent passwd' });
}
