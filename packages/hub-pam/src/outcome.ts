import type { Shadow } from '@metalhub/systemd/accounts.js';
import type { PamOutcome } from '@metalhub/wire/pam.js';

/** Return codes of Linux-PAM. @see /usr/include/security/_pam_types.h */
export const PAM_SUCCESS = 0;
export const PAM_CONV_ERR = 19;
const PAM_USER_UNKNOWN = 10;
const PAM_NEW_AUTHTOK_REQD = 12;
const PAM_ACCT_EXPIRED = 13;
const PAM_AUTHTOK_EXPIRED = 27;

/**
 * Codes that say nothing about the password: open, symbol, service, system and buffer error; no information; session,
 * credential, data and conversation error; abort; unknown module, bad item, event and again.
 */
const FAILURES: ReadonlySet<number> = new Set([1, 2, 3, 4, 5, 9, 14, 15, 16, 17, 18, 19, 26, 28, 29, 30, 31]);
/** The password was not asked for or does not count: permission denied, too many tries, account expired. */
const CLOSED: ReadonlySet<number> = new Set([6, 11, PAM_ACCT_EXPIRED]);

/** How libpam answered: the first phase that did not succeed, else the last one with PAM_SUCCESS. */
export interface PamResult {
  readonly phase: 'start' | 'authenticate' | 'account';
  readonly code: number;
  /** pam_strerror(3) of the code. */
  readonly text: string;
}

/** What the machine's databases know about the account. */
export interface AccountFacts {
  readonly isKnown: boolean;
  /** `undefined` for accounts from elsewhere. */
  readonly shadow: Shadow | undefined;
  /** Days since 1970-01-01. */
  readonly today: number;
}

/**
 * Names the outcome of a failed attempt.
 *
 * libpam's code alone does not: Debian's stacks end in pam_deny, which answers "authentication failure" for an unknown
 * user, a locked one, and even for an expired account.
 */
export function judgeFailure(pam: PamResult, facts: AccountFacts): PamOutcome {
  if (pam.phase === 'start' || FAILURES.has(pam.code)) return 'error';
  if (pam.code === PAM_NEW_AUTHTOK_REQD || (pam.code === PAM_AUTHTOK_EXPIRED && pam.phase === 'account')) {
    return 'password_expired';
  }
  return pam.phase === 'authenticate' ? judgeRefusedPassword(pam, facts) : judgeRefusedAccount(pam, facts);
}

function judgeRefusedPassword({ code }: PamResult, { isKnown, shadow }: AccountFacts): PamOutcome {
  if (!isKnown || code === PAM_USER_UNKNOWN) return 'unknown_user';
  // Expired already here: nobody has looked at the password, so it must not be told as after the right one.
  if (CLOSED.has(code) || shadow?.locked === true) return 'locked';
  return 'wrong_password';
}

function judgeRefusedAccount({ code }: PamResult, { shadow, today }: AccountFacts): PamOutcome {
  if (code === PAM_ACCT_EXPIRED) return 'account_expired';
  if (shadow?.expireDay !== undefined && today >= shadow.expireDay) return 'account_expired';
  if (shadow !== undefined && isPasswordExpired(shadow, today)) return 'password_expired';
  return 'denied';
}

/** @see shadow(5) */
function isPasswordExpired({ lastChangeDay, maxDays }: Shadow, today: number): boolean {
  if (lastChangeDay === undefined) return false;
  return lastChangeDay === 0 || (maxDays !== undefined && today > lastChangeDay + maxDays);
}
