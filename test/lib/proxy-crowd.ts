import { connect, type Socket } from 'node:net';
import { openConnection } from './proxy-rig.js';

/** Connections to the proxy; those that could not be made are left out. @param first sent on each */
export async function openMany(
  count: number,
  optionsOf: (index: number) => { localAddress?: string; host?: string },
  first?: string,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  await inParallel(count, 100, async (index) => {
    const socket = await openConnection(optionsOf(index)).catch(() => undefined);
    socket?.resume();
    if (first !== undefined) socket?.write(first);
    if (socket !== undefined) sockets.push(socket);
  });
  return sockets;
}

/** Does it so many times, some at once. */
export async function inParallel(count: number, width: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: width }, run));
}

export function untilClosed(socket: Socket): Promise<unknown> {
  return socket.destroyed ? Promise.resolve() : new Promise((resolve) => socket.once('close', resolve));
}

/** Its peer has read what was written, or is gone. */
export function untilDrained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const finish = (): void => {
      socket.off('drain', finish).off('close', finish);
      resolve();
    };
    socket.on('drain', finish).on('close', finish);
  });
}

/** A request to the route API whose body never ends. */
export function slowBody(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      const head = ['POST /api/routes/user/slow HTTP/1.1', 'Host: x', 'Content-Type: application/json'];
      socket.write(`${head.join('\r\n')}\r\nContent-Length: 60000\r\n\r\n{`);
      socket.resume();
      const drip = setInterval(() => socket.writable && socket.write(' '), 1000);
      socket.once('close', () => clearInterval(drip));
      resolve(socket);
    });
    socket.once('error', reject);
    socket.on('error', () => socket.destroy());
  });
}

/** Answers every request at once, and keeps what it got. */
export function answerAll(socket: Socket): void {
  let head = '';
  socket.on('data', (chunk) => {
    head += chunk.toString('latin1');
    for (let end = head.indexOf('\r\n\r\n'); end >= 0; end = head.indexOf('\r\n\r\n')) {
      head = head.slice(end + 4);
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine');
    }
  });
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
}
