import { type IncomingMessage, request } from 'node:http';

/** Of which server; a start may name its profile. */
export interface ServerOrder {
  readonly user: string;
  readonly server?: string;
  readonly profile?: string;
}

/**
 * Asks the hub for a start or a stop as hubctl does. Resolves when it is taken; the answer ends when it is done.
 * @param socketPath of the hub's socket for administrators
 */
export function orderServer(
  socketPath: string,
  action: 'start' | 'stop',
  order: ServerOrder,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    request({ socketPath, method: 'POST', path: `/admin/servers/${action}`, headers }, resolve)
      .on('error', reject)
      .end(JSON.stringify(order));
  });
}
