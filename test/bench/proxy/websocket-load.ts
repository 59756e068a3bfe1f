import type { Socket } from 'node:net';
import { openSocket } from './http-load.js';

/** Opens a WebSocket; the head must ask for the upgrade. */
export function openWebSocket(port: number, isTls: boolean, head: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = openSocket(port, isTls);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed before the upgrade')));
    socket.on(isTls ? 'secureConnect' : 'connect', () => socket.write(head));
    let got = '';
    socket.on('data', function onData(chunk: Buffer) {
      got += chunk.toString('latin1');
      if (!got.includes('\r\n\r\n')) return;
      socket.off('data', onData);
      if (!got.startsWith('HTTP/1.1 101 ')) return reject(new Error(got.slice(0, 600)));
      socket.removeAllListeners('close');
      resolve(socket);
    });
  });
}

/** A masked frame, as a browser sends it, and what comes back is the same bytes. */
export function makeFrame(payloadBytes: number): Buffer {
  const mask = Buffer.from([1, 2, 3, 4]);
  const head =
    payloadBytes < 126
      ? Buffer.from([0x82, 0x80 | payloadBytes])
      : payloadBytes < 65_536
        ? Buffer.from([0x82, 0x80 | 126, payloadBytes >> 8, payloadBytes & 0xff])
        : Buffer.concat([Buffer.from([0x82, 0x80 | 127, 0, 0, 0, 0]), uint32(payloadBytes)]);
  return Buffer.concat([head, mask, Buffer.alloc(payloadBytes, 'w')]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/**
 * Each WebSocket sends a frame, waits until all of it is back, and sends the next.
 * @returns how many frames passed the proxy, both ways counted
 */
export async function runEcho(sockets: readonly Socket[], frame: Buffer, milliseconds: number): Promise<number> {
  const endMs = performance.now() + milliseconds;
  let frames = 0;
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve, reject) => {
          let received = 0;
          socket.removeAllListeners('data');
          socket.on('close', () => reject(new Error('the WebSocket was closed')));
          socket.on('data', (chunk: Buffer) => {
            if (frame.compare(chunk, 0, chunk.length, received, received + chunk.length) !== 0) {
              return reject(new Error('not the bytes that were sent'));
            }
            received += chunk.length;
            if (received < frame.length) return;
            received = 0;
            frames += 2;
            if (performance.now() < endMs) socket.write(frame);
            else {
              socket.removeAllListeners('close');
              resolve();
            }
          });
          socket.write(frame);
        }),
    ),
  );
  return frames;
}
