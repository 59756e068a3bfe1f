import { connect, type Socket } from 'node:net';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';

const MAX_WAIT_MS = 10 * SECOND_MS;
const RETRY_MS = 25;

/**
 * Connects to a server's socket.
 *
 * A full backlog makes connect(2) fail with EAGAIN on UNIX sockets instead of waiting, so waiting is done here; nothing
 * of a request has been written then.
 *
 * @param isGone whether the client no longer waits
 */
export function connectUpstream(path: string, isGone: () => boolean): Promise<Socket> {
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    function attempt(): void {
      if (isGone()) return reject(new Error('aborted'));
      const socket = connect({ path, allowHalfOpen: true });
      const fail = (error: Error): void => {
        socket.destroy();
        const canWait = systemErrorCode(error) === 'EAGAIN' && performance.now() - startedMs < MAX_WAIT_MS;
        if (canWait) setTimeout(attempt, RETRY_MS);
        else reject(error);
      };
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.off('error', fail);
        socket.on('error', () => socket.destroy());
        if (isGone()) {
          socket.destroy();
          reject(new Error('aborted'));
        } else resolve(socket);
      });
    }
    attempt();
  });
}
