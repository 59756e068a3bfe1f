import { checkAccounts } from './account-modes.js';
import { isRange } from './address-range.js';
import { basePathMistake } from './base-path.js';
import { memoryMistake } from './bytes.js';
import { checkKernels } from './kernel-rules.js';
import { checkProfiles } from './profile-rules.js';
import type { Config } from './schema.js';

type Refuse = (path: readonly (string | number)[], reason: string) => void;

/** Rules that span more than one key. */
export function checkConsistency(config: Config, refuse: Refuse): void {
  const mistake = basePathMistake(config.public_url);
  if (mistake !== undefined) refuse(['public_url'], mistake);
  checkListen(config, refuse);
  checkTls(config, refuse);
  checkUpstreams(config, refuse);
  checkAccounts(config, refuse);
  checkProfiles(config, refuse);
  checkKernels(config, refuse);
  const ceilingMistake = memoryMistake(config.server.memory_ceiling);
  if (ceilingMistake !== undefined) refuse(['server', 'memory_ceiling'], ceilingMistake);
  if (config.login.length > 1) refuse(['login', 1], 'this version knows one way to log in');
}

function checkListen(config: Config, refuse: Refuse): void {
  for (const [index, address] of config.proxy.listen.entries()) {
    const where = ['proxy', 'listen', index];
    checkPort(address, where, refuse);
    if (!isLoopback(hostOf(address)) && !config.proxy.insecure && config.tls.cert_file === '') {
      const need = 'set tls.cert_file and tls.key_file, or proxy.insecure = true';
      refuse(where, `${address} is not a loopback address: without TLS passwords would cross the network; ${need}`);
    }
  }
  for (const [index, range] of config.proxy.trusted_proxies.entries()) {
    if (!isRange(range)) refuse(['proxy', 'trusted_proxies', index], `"${range}" is no address and no range`);
  }
}

function checkPort(address: string, where: readonly (string | number)[], refuse: Refuse): void {
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  if (port < 1 || port > 65_535) refuse(where, `${port} is not a port`);
}

function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}

function checkUpstreams(config: Config, refuse: Refuse): void {
  for (const [index, range] of config.proxy.upstream_ranges.entries()) {
    if (!isRange(range))
      refuse(['proxy', 'upstream_ranges', index], `${range} is not a range of addresses like 10.0.0.0/8`);
  }
  const { api_listen: address, insecure } = config.proxy;
  const where = ['proxy', 'api_listen'];
  checkPort(address, where, refuse);
  if (!isLoopback(hostOf(address)) && !insecure) {
    const risk = 'it has no TLS, and the token that gives all routes away would cross the network';
    refuse(where, `${address} is not a loopback address: ${risk}; choose one, or set proxy.insecure = true`);
  }
}

function isLoopback(host: string): boolean {
  return host === '[::1]' || /^127\.[0-9.]+$/.test(host);
}

function checkTls(config: Config, refuse: Refuse): void {
  const { cert_file, key_file, redirect_listen } = config.tls;
  if (cert_file !== '' && key_file === '') refuse(['tls', 'key_file'], 'is needed beside tls.cert_file');
  if (key_file !== '' && cert_file === '') refuse(['tls', 'cert_file'], 'is needed beside tls.key_file');
  if (cert_file !== '' && !config.public_url.startsWith('https://')) {
    refuse(['public_url'], 'must begin with https://, because tls.cert_file is set');
  }
  for (const [index, address] of redirect_listen.entries()) {
    const where = ['tls', 'redirect_listen', index];
    checkPort(address, where, refuse);
    if (cert_file === '') refuse(where, 'there is nothing to redirect to without tls.cert_file');
    if (config.proxy.listen.includes(address)) refuse(where, `${address} is also in proxy.listen, which speaks HTTPS`);
  }
}
