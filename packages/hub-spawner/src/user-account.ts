import { accountName, homePath, type Key } from '@metalhub/base/names.js';

/** PAMName= of units that run as an account of the machine: /etc/pam.d/metalhub-session. */
export const LOCAL_SESSION = 'metalhub-session';
export const DYNAMIC_SHELL = '/bin/bash';

/** As whom the units of a user run. */
export interface UserAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
  /** An account of the machine: its home is the machine's, too. Otherwise one that systemd makes for the units. */
  readonly isLocal: boolean;
}

/** @param uid leased to the key; also the gid */
export function dynamicAccount(key: Key, uid: number): UserAccount {
  return { name: accountName(key), uid, gid: uid, home: homePath(key), shell: DYNAMIC_SHELL, isLocal: false };
}
