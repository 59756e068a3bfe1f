import { isIPv6 } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

/**
 * Addresses to listen on that the machine does not have now. systemd binds them all the same (`FreeBind=yes`, as an
 * interface may come later), so that a misspelt one fails nowhere.
 */
export function missingAddresses(
  listen: readonly string[],
  interfaces: Readonly<
    Record<string, readonly Pick<NetworkInterfaceInfo, 'address'>[] | undefined>
  > = networkInterfaces(),
): string[] {
  const present = new Set(
    Object.values(interfaces).flatMap((list) => (list ?? []).map(({ address }) => canonical(address))),
  );
  return listen.filter((entry) => {
    const host = entry.slice(0, entry.lastIndexOf(':')).replace(/^\[|\]$/g, '');
    const isAny = ['0.0.0.0', '::'].includes(canonical(host));
    const isLoopback = host.startsWith('127.') || canonical(host) === '::1';
    return !isAny && !isLoopback && !present.has(canonical(host));
  });
}

/** IPv6 addresses have many spellings. */
function canonical(address: string): string {
  if (!isIPv6(address)) return address;
  return new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1);
}
