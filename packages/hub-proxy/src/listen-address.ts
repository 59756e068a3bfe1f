import { isIPv6 } from 'node:net';

/** One spelling for `host:port` as in the configuration: `[0:0::0]:080` is `[::]:80`. */
export function canonicalAddress(address: string): string {
  const colon = address.lastIndexOf(':');
  const url = `http://${address.slice(0, colon)}`;
  const host = URL.canParse(url) ? new URL(url).hostname : address.slice(0, colon);
  return `${host}:${Number(address.slice(colon + 1))}`;
}

/** The same for an address in parts, as Node reports that of a listening socket. */
export function addressText(host: string, port: number): string {
  return canonicalAddress(`${isIPv6(host) ? `[${host}]` : host}:${port}`);
}
