import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import t from 'tap';
import { startFront } from './testing/front.js';
import { certificate, openSession, request, startHttp2Front } from './testing/http2-client.js';
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

t.test('over TLS and HTTP/2 everything is counted as it is without them', async (t) => {
  const size = 2_000_000;
  const front = await startHttp2Front(t, (head, socket) => {
    if (!head.includes('/ws')) return void socket.write(ok('z'.repeat(size)));
    socket.write(SWITCH);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  const { proxy, cookie } = front;
  const counters = (): Record<string, number> => ({ ...proxy.worker.report().counters });
  let before = counters();
  /** Since the last call; {@link name} may be missing as long as it is 0. */
  const grown = (name: string): number => (counters()[name] ?? 0) - (before[name] ?? 0);
  const isAbout = (bytes: number, name: string): void => {
    const found = grown(name);
    t.ok(found > bytes && found < bytes * 1.05 + 4000, `${name}: ${found}`);
  };
  const session = openSession(front);
  const put = { ':method': 'PUT', origin: 'https://hub.example.org' };
  t.match(await request(session, front, put, 'x'.repeat(size)), { status: 200 });
  for (const when of ['open', 'closed']) {
    for (const name of ['bytes|received', 'bytes|sent']) isAbout(size, name);
    t.equal(grown('connections'), 1, when);
    if (when === 'open') session.destroy();
    while (when === 'open' && proxy.worker.report().connections > 0) await sleep(10);
  }
  t.equal(grown('requests|server|200'), 1);
  t.equal(grown('requests|none|400'), 0);

  before = counters();
  const options = { port: proxy.port, host: '127.0.0.1', ca: certificate.cert, servername: 'hub.example.org' };
  const client = connectTls({ ...options, ALPNProtocols: ['http/1.1'] });
  let got = 0;
  client.on('data', (chunk: Buffer) => {
    got += chunk.length;
  });
  const head = (line: string, fields: readonly string[]): string =>
    [line, 'Host: hub.example.org', cookie, 'Origin: https://hub.example.org', ...fields, '', ''].join('\r\n');
  client.write(head('PUT /user/anna/x HTTP/1.1', [`Content-Length: ${size}`]) + 'x'.repeat(size));
  while (got < size) await sleep(10);
  for (const name of ['bytes|received', 'bytes|sent']) isAbout(size, name);
  t.equal(grown('connections'), 1);
  t.equal(grown('requests|server|200'), 1);

  before = counters();
  got = 0;
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  client.write(head('GET /user/anna/ws HTTP/1.1', upgrade));
  while (got === 0) await sleep(10);
  got = 0;
  client.write('w'.repeat(size));
  while (got < size) await sleep(10);
  t.match([grown('tunnels'), grown('upgrades'), proxy.worker.report().tunnels], [1, 1, 1]);
  for (const when of ['open', 'closed']) {
    for (const way of ['received', 'sent']) {
      t.equal(grown(`tunnel_bytes|${way}`), size, when);
      isAbout(size, `bytes|${way}`);
    }
    if (when === 'open') client.destroy();
    while (when === 'open' && proxy.worker.report().connections > 0) await sleep(10);
  }
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
