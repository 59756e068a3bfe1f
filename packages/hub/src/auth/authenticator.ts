import type { UserName } from '../names/user-name.js';

export interface LoginAttempt {
  readonly name: UserName;
  readonly password: string;
  /** Address of the visitor, `''` when it is not known. */
  readonly address: string;
}

export type LoginAnswer =
  | { kind: 'accepted'; groups: readonly string[] }
  /** All of these look the same to the visitor; `outcome` and `reason` are for the log. */
  | { kind: 'refused'; outcome: string; reason: string | null }
  /** The password was right, so that its owner may be told. */
  | { kind: 'account-expired' | 'password-expired'; reason: string | null }
  /** Nothing is known about the password: the machine failed. */
  | { kind: 'failed'; reason: string | null };

/** A way to log in. */
export interface Authenticator {
  /** First part of an identity: `pam`. */
  readonly method: string;
  authenticate(attempt: LoginAttempt): Promise<LoginAnswer>;
}
