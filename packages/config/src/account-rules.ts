import type { LoginConfig } from './schema.js';

// Who may use metalhub with an account of the machine: asked by hub-pam at each login, and by hub-spawner before it runs
// anything as that account.

/** Below are the accounts of the system. @see login.defs(5), UID_MIN */
const MIN_UID = 1000;
// nobody, and the 16-bit "no such user".
const RESERVED_UIDS: ReadonlySet<number> = new Set([65_534, 65_535]);
const REFUSING_SHELL = /\/(?:nologin|false|true|sync|shutdown|halt)$/;

/** What the rules look at. */
export interface Candidate {
  /** As the visitor wrote it, or as the hub says. */
  readonly name: string;
  /** `undefined`: PAM knows it, the machine does not. */
  readonly account: { readonly name: string; readonly uid: number; readonly shell: string } | undefined;
  /** Names of all its groups, the primary one included. */
  readonly groups: readonly string[];
  /** Paths of shells(5). */
  readonly shells: ReadonlySet<string>;
}

/** Of a `[[login]]` of the configuration. */
export type LoginLists = Pick<LoginConfig, 'allow' | 'deny'>;

/** Why this account may not log in, in words of ours; `undefined` when it may. */
export function findRefusal(candidate: Candidate, login: LoginLists | undefined): string | undefined {
  return accountMistake(candidate) ?? listRefusal(candidate, login);
}

/** Why nobody at all may use metalhub with an account; `undefined` when somebody may. */
export function accountMistake({ name, account, shells }: Candidate): string | undefined {
  if (account === undefined) return 'the machine has no such account';
  if (account.uid === 0) return 'root never logs in here';
  // Two spellings of one account would be two users of the hub.
  if (account.name !== name) return 'the machine spells this name differently';
  if (account.uid < MIN_UID || RESERVED_UIDS.has(account.uid)) return 'an account of the system';
  const shell = shellOf(account);
  if (REFUSING_SHELL.test(shell) || !shells.has(shell)) return 'the account has no valid shell';
  return undefined;
}

/** passwd(5): an empty field means /bin/sh. */
export function shellOf({ shell }: { readonly shell: string }): string {
  return shell === '' ? '/bin/sh' : shell;
}

function listRefusal({ name, groups }: Candidate, login: LoginLists | undefined): string | undefined {
  if (login === undefined) return 'the configuration has no [[login]] with method = "pam"';
  const isIn = (list: LoginLists['allow']): boolean =>
    list.users.includes(name) || list.groups.some((group) => groups.includes(group));
  if (login.allow.users.length === 0 && login.allow.groups.length === 0) return 'login.allow is empty';
  if (isIn(login.deny)) return 'listed in login.deny';
  return isIn(login.allow) ? undefined : 'not listed in login.allow';
}
