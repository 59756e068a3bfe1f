import net from 'node:net';

/** A bound descriptor that this process does not accept on, as systemd would hand one over. */
export function makeListenFd(): { fd: number; port: number; close(): void } {
  // Not documented, but what Node's own cluster module uses; a net.Server would accept connections itself.
  const create: unknown = Reflect.get(net, '_createServerHandle');
  if (typeof create !== 'function') throw new TypeError('this Node has no _createServerHandle');
  const handle = create('127.0.0.1', 0, 4) as { fd: number; getsockname(out: object): void; close(): void };
  const address: { port?: number } = {};
  handle.getsockname(address);
  return { fd: handle.fd, port: address.port ?? 0, close: () => handle.close() };
}
