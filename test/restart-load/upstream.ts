import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { BINARY, CLOSE, encodeFrame, FrameReader } from './frames.js';
import { findWrong, patternAt } from './pattern.js';

/**
 * What stands behind the proxy while it is restarted: a program of its own, run by systemd on a socket that systemd made.
 * Checks all it gets, and answers in a way that shows it.
 */
const LISTEN_FD = 3;
const TICK_MS = 50;

/** Those under way; after /hurry they are no longer slowed down. */
const downloads = new Set<{ isHurried: boolean }>();

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://upstream');
  const name = url.pathname.split('/').pop();
  if (name === 'echo') return echo(request, response);
  if (name === 'download') return download(url, response);
  if (name === 'upload') return upload(request, response);
  if (name === 'hurry') hurry();
  response.end('ok');
}

function hurry(): void {
  for (const download of downloads) download.isHurried = true;
}

async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = request.method === 'POST' ? Buffer.concat(chunks) : Buffer.from(`answer to ${request.url ?? ''}`);
  response.setHeader('content-length', body.length);
  response.end(body);
}

async function download(url: URL, response: ServerResponse): Promise<void> {
  const total = Number(url.searchParams.get('bytes'));
  const perTick = (Number(url.searchParams.get('rate')) * TICK_MS) / 1000;
  const pace = { isHurried: false };
  downloads.add(pace);
  response.setHeader('content-length', total);
  for (let sent = 0; sent < total && !response.destroyed; ) {
    const until = pace.isHurried ? total : Math.min(total, sent + perTick);
    while (sent < until && !response.destroyed) {
      const bytes = patternAt(sent, total - sent);
      sent += bytes.length;
      if (!response.write(bytes)) await untilWritable(response);
    }
    if (!pace.isHurried) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  downloads.delete(pace);
  response.end();
}

function untilWritable(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    if (response.destroyed) resolve();
    else response.on('drain', done).on('close', done);
  });
}

async function upload(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let received = 0;
  let wrongAt: number | undefined;
  for await (const chunk of request) {
    wrongAt ??= findWrong(received, chunk as Buffer);
    received += (chunk as Buffer).length;
  }
  response.end(JSON.stringify({ received, wrongAt: wrongAt ?? null }));
}

/** Echoes every message, and closes the connection when one is missing, repeated or out of its order. */
function echoMessages(socket: Duplex): void {
  socket.write(
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
  );
  const reader = new FrameReader();
  let expected = 0;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    for (const { opcode, payload } of reader.push(chunk)) {
      if (opcode === CLOSE) return void socket.end();
      if (opcode !== BINARY || payload.readUInt32BE(0) !== expected) return void socket.destroy();
      expected += 1;
      socket.write(encodeFrame(payload, false));
    }
  });
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.destroy());
});
server.keepAliveTimeout = 0;
server.requestTimeout = 0;
server.on('upgrade', (_request, socket) => echoMessages(socket));
server.listen({ fd: LISTEN_FD });
