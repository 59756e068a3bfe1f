import { createServer } from 'node:net';
import type { EdgeSettings } from '../edge-settings.js';
import { startHttp2Front } from './http2-client.js';
import { ok } from './upstream.js';

/** A front in a process of its own, which says on request what it takes; its limits come as JSON. */

const limits = JSON.parse(process.argv[2] ?? '{}') as EdgeSettings;
const BIG_BYTES = 8 * 1024 * 1024;
const big = Buffer.from(ok('z'.repeat(BIG_BYTES)));

const crumbs = Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(200_000)}`);

const { proxy, server, cookie } = await startHttp2Front({ teardown: () => undefined }, undefined, {}, limits);
// Instead of the one that keeps all it gets.
await server.close();
let servers = 0;
createServer((socket) => {
  servers++;
  let isHeld = false;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    const head = chunk.toString('latin1');
    isHeld ||= head.includes('/user/anna/hold');
    if (head.includes('/user/anna/stuck')) return void socket.pause();
    if (isHeld || !head.includes('HTTP/1.1\r\n')) return;
    if (head.includes('/user/anna/crumbs')) socket.write(crumbs);
    else socket.write(head.includes('/user/anna/big') ? big : ok('fine'));
  });
}).listen(proxy.serverPath);

/** What {@link process.send} says. */
export interface FrontUse {
  readonly cpuMs: number;
  readonly rssMib: number;
  readonly connections: number;
  /** Connections that were made to the server. */
  readonly servers: number;
  readonly refusals: readonly string[];
}

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const use: FrontUse = {
    cpuMs: (user + system) / 1000,
    rssMib: process.memoryUsage.rss() / 2 ** 20,
    connections: proxy.worker.report().connections,
    servers,
    refusals: [...new Set(proxy.log.lines.map(({ fields }) => String(fields?.['reason'])))],
  };
  process.send?.(use);
});
process.on('disconnect', () => process.exit());
process.send?.({ port: proxy.port, cookie: cookie.slice('Cookie: '.length) });
