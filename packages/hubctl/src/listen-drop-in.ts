/** What hub-proxy.socket listens on without a drop-in. */
export const SHIPPED_LISTEN = ['127.0.0.1:8000'];
export const LISTEN_DROP_IN = '/etc/systemd/system/hub-proxy.socket.d/50-metalhub-listen.conf';

/** The drop-in that `hubctl apply` writes; `undefined` when the unit as shipped says the same. */
export function listenDropIn(listen: readonly string[]): string | undefined {
  if (listen.length === SHIPPED_LISTEN.length && listen.every((address, index) => address === SHIPPED_LISTEN[index])) {
    return undefined;
  }
  const lines = listen.map((address) => `ListenStream=${address}`);
  return ['# Written by hubctl apply from proxy.listen in metalhub.toml.', '[Socket]', 'ListenStream=', ...lines, ''].join('\n');
}
