import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';

/**
 * Address of the visitor as the proxy saw it, `''` when there is none. The hub's socket can be reached by the proxy
 * only, and the proxy replaces the header; of a list the last entry is the proxy's own.
 */
export function clientAddress(headers: IncomingHttpHeaders): string {
  const header = headers['x-forwarded-for'];
  const last = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',').at(-1)?.trim() ?? '';
  const address = last.replace(/^::ffff:(?=[0-9.]+$)/i, '').toLowerCase();
  return isIP(address) === 0 ? '' : address;
}
