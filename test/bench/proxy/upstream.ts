import { createServer, type Server, type Socket } from 'node:net';

/** Body of every small answer. */
export const SMALL_BODY = Buffer.from(
  JSON.stringify({ kernels: [], started: '2026-01-01T00:00:00Z', pad: 'x'.repeat(40) }),
);

const BLOCK = Buffer.alloc(64 * 1024, 'd');
const SMALL = Buffer.concat([
  Buffer.from(
    `HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: application/json\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n` +
      `Cache-Control: no-cache\r\nContent-Length: ${SMALL_BODY.length}\r\n\r\n`,
  ),
  SMALL_BODY,
]);

/**
 * The server behind all proxies, on a UNIX socket, in this process: small answers, `/download/BYTES`, uploads that are
 * counted, and a WebSocket that sends every frame back.
 */
export function startUpstream(path: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.setNoDelay(true);
    serve(socket);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, backlog: 4096 }, () => resolve(server));
  });
}

function serve(socket: Socket): void {
  let pending: Buffer | undefined;
  let bodyLeft = 0;
  let bodyBytes = 0;
  socket.on('data', function onData(chunk: Buffer): void {
    let input = pending === undefined ? chunk : Buffer.concat([pending, chunk]);
    pending = undefined;
    for (;;) {
      if (bodyLeft > 0) {
        const taken = Math.min(bodyLeft, input.length);
        bodyLeft -= taken;
        input = input.subarray(taken);
        if (bodyLeft > 0) return;
        answer(socket, Buffer.from(String(bodyBytes)));
      }
      const end = input.indexOf('\r\n\r\n');
      if (end < 0) {
        if (input.length > 0) pending = input;
        return;
      }
      const head = input.toString('latin1', 0, end);
      input = input.subarray(end + 4);
      const download = /^GET \S*\/download\/(\d+)/.exec(head);
      if (head.startsWith('PUT ')) {
        bodyBytes = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN);
        bodyLeft = bodyBytes;
        if (!(bodyLeft > 0)) throw new Error('an upload without a length');
      } else if (download !== null) sendBlocks(socket, Number(download[1]));
      else if (/\r\nupgrade: *websocket/i.test(head)) {
        socket.off('data', onData);
        echoFrames(socket, input);
        return;
      } else socket.write(SMALL);
    }
  });
}

function answer(socket: Socket, body: Buffer): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body.toString('latin1')}`);
}

function sendBlocks(socket: Socket, bytes: number): void {
  let left = bytes;
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n`);
  const more = (): void => {
    while (left > 0) {
      const size = Math.min(left, BLOCK.length);
      left -= size;
      if (!socket.write(size === BLOCK.length ? BLOCK : BLOCK.subarray(0, size))) {
        if (left > 0) socket.once('drain', more);
        return;
      }
    }
  };
  more();
}

/** The messages are of one size and unmasked here and there, so what came in can go out as it is. */
function echoFrames(socket: Socket, first: Buffer): void {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n',
  );
  if (first.length > 0) socket.write(first);
  socket.on('data', (chunk: Buffer) => void socket.write(chunk));
}
