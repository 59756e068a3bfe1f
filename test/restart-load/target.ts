import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Where the load goes. */
export interface Target {
  readonly port: number;
  /** As in the Host field. */
  readonly host: string;
  /** Ends with a slash. */
  readonly prefix: string;
  readonly cookie: string;
  readonly origin: string;
  /** Certificate to trust, PEM: the connections are encrypted. */
  readonly ca?: string;
}

/** Resolves when the connection is ready to be used. @throws when it is refused */
export function openConnection(target: Target): Promise<Socket> {
  const { port, ca } = target;
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, noDelay: true };
    const servername = target.host.replace(/:\d+$/, '');
    const socket =
      ca === undefined
        ? connect(options, () => done())
        : connectTls({ ...options, ca, servername, ALPNProtocols: ['http/1.1'] }, () => done());
    const done = (): void => {
      socket.off('error', reject);
      socket.on('error', () => undefined); // `close` follows, which is what is looked at
      resolve(socket);
    };
    socket.once('error', reject);
  });
}

export function requestHead(target: Target, method: string, path: string, fields: readonly string[] = []): string {
  const { host, prefix, cookie, origin } = target;
  return [
    `${method} ${prefix}${path} HTTP/1.1`,
    `Host: ${host}`,
    `Cookie: ${cookie}`,
    `Origin: ${origin}`,
    ...fields,
    '',
    '',
  ].join('\r\n');
}

export interface AnswerHead {
  readonly status: number;
  readonly length: number;
  /** The connection takes no further request. */
  readonly isLast: boolean;
}

/** @param head up to and without the empty line */
export function parseAnswerHead(head: string): AnswerHead {
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0),
    length: Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0),
    isLast: /^connection: *close/im.test(head),
  };
}

/** Waits until more can be written, or nothing any more. */
export function untilWritable(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    if (socket.destroyed) resolve();
    else socket.on('drain', done).on('close', done);
  });
}
