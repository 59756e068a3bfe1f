import { isIP } from 'node:net';

/** Whether this is an address, or a range as 192.0.2.0/24. */
export function isRange(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0) return false;
  return bits === undefined || Number(bits) <= (family === 4 ? 32 : 128);
}
