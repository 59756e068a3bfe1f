import { isIP } from 'node:net';
import { parseBytes } from './bytes.js';
import type { Config } from './schema.js';

type Refuse = (path: readonly (string | number)[], reason: string) => void;

/** Rules that span more than one key. */
export function checkConsistency(config: Config, refuse: Refuse): void {
  checkListen(config, refuse);
  checkTls(config, refuse);
  checkUpstreams(config, refuse);
  if (config.accounts.uid_min > config.accounts.uid_max) {
    refuse(['accounts', 'uid_max'], `must not be less than accounts.uid_min (${config.accounts.uid_min})`);
  }
  const names = new Set<string>();
  for (const [index, profile] of config.profile.entries()) {
    if (names.has(profile.name)) refuse(['profile', index, 'name'], `"${profile.name}" is used twice`);
    names.add(profile.name);
    for (const key of ['memory_max', 'memory_high'] as const) {
      const bytes = parseBytes(profile[key]);
      if (bytes !== undefined && (bytes < 64 * 2 ** 20 || bytes > 2 ** 50)) {
        refuse(['profile', index, key], 'must lie between 64M and 1024T');
      }
    }
  }
  if (config.login.length > 1) refuse(['login', 1], 'this version knows one way to log in');
}

function checkListen(config: Config, refuse: Refuse): void {
  for (const [index, address] of config.proxy.listen.entries()) {
    const colon = address.lastIndexOf(':');
    const port = Number(address.slice(colon + 1));
    if (port < 1 || port > 65_535) refuse(['proxy', 'listen', index], `${port} is not a port`);
    if (!isLoopback(address.slice(0, colon)) && !config.proxy.insecure) {
      refuse(
        ['proxy', 'listen', index],
        `${address} is not a loopback address: without TLS that needs proxy.insecure = true`,
      );
    }
  }
}

function checkUpstreams(config: Config, refuse: Refuse): void {
  for (const [index, range] of config.proxy.upstream_ranges.entries()) {
    const [address = '', bits] = range.split('/');
    const family = isIP(address);
    const isRange = family !== 0 && Number(bits) <= (family === 4 ? 32 : 128);
    if (!isRange) refuse(['proxy', 'upstream_ranges', index], `${range} is not a range of addresses like 10.0.0.0/8`);
  }
  const port = Number(config.proxy.api_listen.split(':').at(-1));
  if (port < 1 || port > 65_535) refuse(['proxy', 'api_listen'], `${port} is not a port`);
  if (config.proxy.listen.includes(config.proxy.api_listen)) {
    refuse(['proxy', 'api_listen'], `${config.proxy.api_listen} is in proxy.listen already`);
  }
}

function isLoopback(host: string): boolean {
  return host === '[::1]' || /^127\.[0-9.]+$/.test(host);
}

function checkTls(config: Config, refuse: Refuse): void {
  for (const key of ['cert_file', 'key_file'] as const) {
    if (config.tls[key] !== '') refuse(['tls', key], 'this version of hub-proxy does not encrypt yet: leave it empty');
  }
}
