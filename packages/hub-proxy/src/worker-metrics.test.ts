import { closeSync, openSync } from 'node:fs';
import t from 'tap';
import { startFront } from './testing/front.js';
import { ask, exchangeBytes, openClient, statusOf } from './testing/proxy.js';
import { ok } from './testing/upstream.js';
import { openDescriptors } from './worker-metrics.js';

const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n';

t.test('requests are counted once, by what was behind the route and by status', async (t) => {
  const { proxy, cookie } = await startFront(t, (head, socket) => {
    socket.write(head.includes('/teapot') ? 'HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n' : ok('fine'));
  });
  await ask(proxy.port, 'GET /user/anna/x', [cookie]);
  await ask(proxy.port, 'GET /user/anna/teapot', [cookie]);
  await ask(proxy.port, 'GET /user/anna/x');
  await ask(proxy.port, 'GET /hub/home');
  await exchangeBytes(proxy.port, 'nonsense\r\n\r\n');
  await ask(proxy.port, 'GET /x', ['Host: two']);
  const counters = proxy.worker.report().counters ?? {};
  t.match(counters, {
    'requests|server|200': 1,
    'requests|server|418': 1,
    'requests|server|401': 1,
    'requests|hub|200': 1,
    'requests|none|400': 2,
    connections: 6,
  });
  const latencies = Object.entries(counters).filter(([name]) => name.startsWith('latency|'));
  t.equal(
    latencies.reduce((all, [, count]) => all + count, 0),
    4,
  );
  t.ok((counters['latency_ms|server'] ?? 0) > 0);
});

t.test('bytes are those of the connections, of WebSockets apart, also while they are open', async (t) => {
  const { proxy, cookie } = await startFront(t, (_head, socket) => {
    socket.write(SWITCH);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  const head = [
    'GET /user/anna/ws HTTP/1.1',
    `Host: localhost:${proxy.port}`,
    cookie,
    `Origin: http://localhost:${proxy.port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: eA==',
    '',
    '',
  ].join('\r\n');
  const client = openClient(proxy.port, head);
  await client.waitFor('101');
  const sent = 'x'.repeat(100_000);
  client.send(sent);
  await client.waitFor(sent);
  const expected = {
    upgrades: 1,
    tunnels: 1,
    'requests|server|101': 1,
    'tunnel_bytes|received': sent.length,
    'tunnel_bytes|sent': sent.length,
    'bytes|received': head.length + sent.length,
  };
  t.match(proxy.worker.report(), { tunnels: 1, counters: expected });
  client.socket.destroy();
  while (proxy.worker.report().connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  t.match(proxy.worker.report(), { tunnels: 0, counters: expected });
});

t.test('what goes wrong upstream is counted by kind', async (t) => {
  const { proxy, server, hub, cookie } = await startFront(t, (head, socket) => {
    if (head.includes('/garbage')) socket.write('garbage\r\n\r\n');
    else socket.end('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort');
  });
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/garbage', [cookie])), 502);
  await ask(proxy.port, 'GET /user/anna/short', [cookie]);
  await server.close();
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/away', [cookie])), 503);
  t.match(proxy.worker.report().counters, {
    'upstream_errors|server|invalid': 1,
    'upstream_errors|server|broken': 1,
    'upstream_errors|server|unreachable': 1,
  });
  await hub.close();
  t.equal(statusOf(await ask(proxy.port, 'POST /hub/x', ['Content-Length: 0'])), 503);
  t.match(proxy.worker.report().counters, { 'upstream_errors|hub|unreachable': 1 });
});

t.test('open descriptors are counted, not more often than every few seconds', async (t) => {
  const laterMs = performance.now() + 60_000;
  const before = openDescriptors(laterMs) ?? 0;
  t.ok(before > 2);
  const more = Array.from({ length: 20 }, () => openSync('/dev/null', 'r'));
  t.equal(openDescriptors(laterMs + 1000), before);
  t.equal(openDescriptors(laterMs + 10_000), before + 20);
  for (const fd of more) closeSync(fd);
});
