import { MetalhubError } from '@metalhub/base/errors.js';

declare const brand: unique symbol;
/** What somebody typed as their name and the login method accepted, unchanged; text, never an identifier of the machine. */
export type UserName = string & { readonly [brand]: 'UserName' };

/** UTF-16 units. Encoded in a URL that is at most 2304 characters, which leaves room for the rest of an address. */
export const MAX_USER_NAME_LENGTH = 256;

/**
 * Reads a name as typed.
 *
 * White space around it goes, since phone keyboards add it and no account has it. Nothing else is changed, neither
 * case nor Unicode normalisation: the login method decides which account a text means, and two texts are two users.
 * @throws {MH_ERR_HUB_NAME_REFUSED}
 */
export function parseUserName(value: unknown): UserName {
  const name = typeof value === 'string' ? value.trim() : '';
  if (!isUserName(name)) {
    throw new MetalhubError('MH_ERR_HUB_NAME_REFUSED', {
      hint: `a name has 1 to ${MAX_USER_NAME_LENGTH} characters, without slashes, backslashes and control characters`,
    });
  }
  return name;
}

/** Dot segments, slashes of either kind would be other paths in a URL; the proxy refuses them in every spelling. */
export function isUserName(value: string): value is UserName {
  return (
    value.length >= 1 &&
    value.length <= MAX_USER_NAME_LENGTH &&
    value.trim() === value &&
    !/^\.\.?(?:;|$)/.test(value) &&
    !/[/\\\p{Cc}\p{Cs}\u2028\u2029]/u.test(value)
  );
}
