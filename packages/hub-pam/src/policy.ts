import type { LoginConfig } from '@metalhub/config/schema.js';
import type { Account } from '@metalhub/systemd/accounts.js';

/** Below are the accounts of the system. @see login.defs(5), UID_MIN */
const MIN_UID = 1000;
// nobody, and the 16-bit "no such user".
const RESERVED_UIDS: ReadonlySet<number> = new Set([65_534, 65_535]);
const REFUSING_SHELL = /\/(?:nologin|false|true|sync|shutdown|halt)$/;

/** What the rules look at, for an account whose password was right. */
export interface Candidate {
  /** As the visitor wrote it. */
  readonly name: string;
  /** `undefined`: PAM knows it, the machine does not. */
  readonly account: Account | undefined;
  /** Names of all its groups, the primary one included. */
  readonly groups: readonly string[];
  /** Paths of shells(5). */
  readonly shells: ReadonlySet<string>;
}

/** Why this account may not log in, in words of ours; `undefined` when it may. */
export function findRefusal(candidate: Candidate, login: LoginConfig | undefined): string | undefined {
  return accountRefusal(candidate) ?? listRefusal(candidate, login);
}

function accountRefusal({ name, account, shells }: Candidate): string | undefined {
  if (account === undefined) return 'the machine has no such account';
  if (account.uid === 0) return 'root never logs in here';
  // Two spellings of one account would be two users of the hub.
  if (account.name !== name) return 'the machine spells this name differently';
  if (account.uid < MIN_UID || RESERVED_UIDS.has(account.uid)) return 'an account of the system';
  // passwd(5): an empty field means /bin/sh.
  const shell = account.shell === '' ? '/bin/sh' : account.shell;
  if (REFUSING_SHELL.test(shell) || !shells.has(shell)) return 'the account has no valid shell';
  return undefined;
}

function listRefusal({ name, groups }: Candidate, login: LoginConfig | undefined): string | undefined {
  if (login === undefined) return 'the configuration has no [[login]] with method = "pam"';
  const isIn = (list: LoginConfig['allow']): boolean =>
    list.users.includes(name) || list.groups.some((group) => groups.includes(group));
  if (login.allow.users.length === 0 && login.allow.groups.length === 0) return 'login.allow is empty';
  if (isIn(login.deny)) return 'listed in login.deny';
  return isIn(login.allow) ? undefined : 'not listed in login.allow';
}

/** The paths in shells(5); a missing file means the two that getusershell(3) assumes. */
export function parseShells(text: string | undefined): ReadonlySet<string> {
  if (text === undefined) return new Set(['/bin/sh', '/bin/csh']);
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim());
  return new Set(lines.filter((line) => line.startsWith('/')));
}
