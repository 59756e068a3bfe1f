import { createServer, type Server, type Socket } from 'node:net';

/** A server on a UNIX socket that keeps every byte it gets, for tests. */
export interface RecordingUpstream {
  readonly path: string;
  /** Everything received, in latin1, in the order of the connections. */
  received(): string;
  readonly connections: number;
  /** Resolves when so many bytes, or a text, have come. */
  waitFor(text: string): Promise<void>;
  /** Called with each connection to come. */
  onConnection(take: (socket: Socket) => void): void;
  close(): Promise<void>;
}

/** @param answer called with each head that is complete; writes whatever it likes */
export function startUpstream(
  path: string,
  answer: (head: string, socket: Socket) => void,
): Promise<RecordingUpstream> {
  let all = '';
  let connections = 0;
  let takeConnection: (socket: Socket) => void = () => undefined;
  const sockets = new Set<Socket>();
  const waiting = new Set<() => void>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    connections++;
    takeConnection(socket);
    sockets.add(socket);
    let head = '';
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1');
      all += text;
      head += text;
      for (let end = head.indexOf('\r\n\r\n'); end >= 0 && !socket.destroyed; end = head.indexOf('\r\n\r\n')) {
        const complete = head.slice(0, end);
        const length = Number(/^content-length: (\d+)$/im.exec(complete)?.[1] ?? 0);
        if (head.length < end + 4 + length) {
          if (/^expect: 100-continue$/im.test(complete)) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
          break;
        }
        head = head.slice(end + 4 + length);
        answer(complete, socket);
      }
      for (const check of waiting) check();
    });
    // A test that listens for the end itself may still write.
    socket.on('end', () => setImmediate(() => socket.end()));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  return new Promise((resolve) => {
    server.listen(path, () =>
      resolve({
        path,
        received: () => all,
        get connections() {
          return connections;
        },
        waitFor: (text) =>
          new Promise((found) => {
            const check = (): void => {
              if (!all.includes(text)) return;
              waiting.delete(check);
              found();
            };
            waiting.add(check);
            check();
          }),
        onConnection: (take) => {
          takeConnection = take;
        },
        close: () =>
          new Promise((closed) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => closed());
          }),
      }),
    );
  });
}

/** A plain answer with a length. */
export function ok(body: string, fields: readonly string[] = []): string {
  return ['HTTP/1.1 200 OK', ...fields, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n');
}
