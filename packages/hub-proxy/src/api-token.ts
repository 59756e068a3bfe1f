import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * Compares in constant time, whatever the lengths are.
 * @param header the field Authorization: `token <secret>`, in just this form
 */
export function isRightToken(header: string | undefined, secret: string): boolean {
  return timingSafeEqual(digest(header ?? ''), digest(`token ${secret}`));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
