import { MAX_PASSWORD_BYTES, type PamAnswer } from '@metalhub/wire/pam.js';

/** LOGIN_NAME_MAX without its NUL. */
export const MAX_NAME_BYTES = 255;

const encoder = new TextEncoder();

/** The answer to a name or password that PAM must never see, `undefined` for one to ask about. */
export function findInputRefusal(name: string, password: string): PamAnswer | undefined {
  const reason = nameFault(name) ?? passwordFault(password);
  if (reason !== undefined) return { outcome: 'malformed', groups: [], reason };
  // Never asked: an account may have none, and to some directories an empty password means an anonymous log-in.
  if (password === '') return { outcome: 'wrong_password', groups: [], reason: 'the password is empty' };
  return undefined;
}

function nameFault(name: string): string | undefined {
  if (name === '') return 'the name is empty';
  if (encoder.encode(name).length > MAX_NAME_BYTES) return 'the name is too long';
  if (/[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/u.test(name)) return 'the name has a control character or is not Unicode';
  // Modules make file names and arguments of it, passwd(5) separates by `:`, and `+`/`-` in front belong to NIS.
  if (/[:/]|^[-+]|^\.{1,2}$|^\s|\s$/u.test(name)) return 'no account can have this name';
  return undefined;
}

function passwordFault(password: string): string | undefined {
  if (encoder.encode(password).length > MAX_PASSWORD_BYTES) return 'the password is too long';
  if (/[\0\n\r\p{Cs}]/u.test(password)) return 'the password has a NUL or a line break or is not Unicode';
  return undefined;
}
