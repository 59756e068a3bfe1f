import { PROXY_API_TOKEN_FILE } from '@metalhub/wire/proxy-api.js';

/** What the socket of the route API listens on without a drop-in. */
const SHIPPED_API_LISTEN = '127.0.0.1:8001';
export const API_SOCKET = 'hub-proxy-api.socket';
export const TCP_DROP_IN = '/etc/systemd/system/hub-proxy.service.d/50-metalhub-tcp.conf';
export const API_LISTEN_DROP_IN = `/etc/systemd/system/${API_SOCKET}.d/50-metalhub-listen.conf`;

/**
 * Gives the proxy a network, as narrow as it goes. That it has the credential is how it knows of another hub: a port that
 * is taken must not make it serve ours instead.
 * @param ranges proxy.upstream_ranges
 */
export function tcpDropIn(ranges: readonly string[]): string {
  return [
    '# Written by hubctl proxy enable-tcp; hubctl proxy disable-tcp removes it.',
    '[Unit]',
    `Wants=${API_SOCKET}`,
    `After=${API_SOCKET}`,
    '',
    '[Service]',
    'PrivateNetwork=no',
    'RestrictAddressFamilies=AF_INET AF_INET6',
    'IPAddressDeny=any',
    // From proxy.upstream_ranges in metalhub.toml. Sockets handed over are not concerned.
    ...(ranges.length > 0 ? [`IPAddressAllow=${ranges.join(' ')}`] : []),
    `LoadCredential=proxy-api-token:${PROXY_API_TOKEN_FILE}`,
    '',
  ].join('\n');
}

/** @returns `undefined` when the unit as shipped says the same */
export function apiListenDropIn(address: string): string | undefined {
  if (address === SHIPPED_API_LISTEN) return undefined;
  return [
    '# Written by hubctl from proxy.api_listen in metalhub.toml.',
    '[Socket]',
    'ListenStream=',
    `ListenStream=${address}`,
    '',
  ].join('\n');
}

/** What another hub's configuration needs. */
export function jupyterhubLines(apiListen: string): string[] {
  return [
    'c.ConfigurableHTTPProxy.should_start = False',
    `c.ConfigurableHTTPProxy.api_url = 'http://${apiListen}'`,
    `c.ConfigurableHTTPProxy.auth_token = open('${PROXY_API_TOKEN_FILE}').read().strip()`,
  ];
}
