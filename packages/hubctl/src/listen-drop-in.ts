import type { BusValue } from '@metalhub/systemd/variant.js';

/** What hub-proxy.socket listens on without a drop-in. */
export const SHIPPED_LISTEN = ['127.0.0.1:8000'];
export const LISTEN_DROP_IN = '/etc/systemd/system/hub-proxy.socket.d/50-metalhub-listen.conf';

/** The drop-in that `hubctl apply` writes; `undefined` when the unit as shipped says the same. */
export function listenDropIn(listen: readonly string[]): string | undefined {
  if (listen.length === SHIPPED_LISTEN.length && listen.every((address, index) => address === SHIPPED_LISTEN[index])) {
    return undefined;
  }
  const lines = listen.map((address) => `ListenStream=${address}`);
  return [
    '# Written by hubctl apply from proxy.listen and tls.redirect_listen in metalhub.toml.',
    '[Socket]',
    'ListenStream=',
    ...lines,
    '',
  ].join('\n');
}

/** @param loaded property `Listen` of the unit: pairs of type and address. @see org.freedesktop.systemd1(5) */
export function listensOn(loaded: BusValue, listen: readonly string[]): boolean {
  const present = Array.isArray(loaded) ? loaded.map((entry) => (Array.isArray(entry) ? canonical(entry[1]) : '')) : [];
  return JSON.stringify(present.sort()) === JSON.stringify(listen.map(canonical).sort());
}

/** An address has many spellings in IPv6, and systemd reports its own. */
function canonical(address: unknown): string {
  const [, host = '', port = ''] = /^(.*):([0-9]+)$/.exec(String(address)) ?? [];
  const url = `http://${host}`;
  return URL.canParse(url) ? `${new URL(url).hostname}:${Number(port)}` : String(address);
}
