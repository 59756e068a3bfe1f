import { DAY_MS, HOUR_MS, SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { exchangeBytes, fieldOf, openClient, type RawClient, startProxy, type TestProxy } from './testing/proxy.js';
import { ticketClaims } from './testing/tickets.js';
import { ok, startUpstream } from './testing/upstream.js';

const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n';

async function setUp(t: { teardown(end: () => Promise<void>): void }) {
  const proxy = await startProxy();
  let finishSlow: () => void = () => undefined;
  const server = await startUpstream(proxy.serverPath, (head, socket) => {
    if (head.includes('/slow')) {
      finishSlow = () => void socket.write(ok('late'));
      return;
    }
    if (!head.includes('/ws')) return void socket.write(ok('soon'));
    socket.write(SWITCH);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  t.teardown(async () => {
    await server.close();
    await proxy.close();
  });
  const ticket = await proxy.key.sign(ticketClaims(Math.floor(Date.now() / SECOND_MS)));
  const fields = [
    `Host: localhost:${proxy.port}`,
    `Cookie: metalhub-ticket=${ticket}`,
    `Origin: http://localhost:${proxy.port}`,
  ];
  const get = (path: string) => [`GET /user/anna${path} HTTP/1.1`, ...fields, '', ''].join('\r\n');
  return { proxy, get, fields, server, finishSlow: () => finishSlow() };
}

async function openTunnel(proxy: TestProxy, fields: readonly string[]): Promise<RawClient> {
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  const client = openClient(proxy.port, ['GET /user/anna/ws HTTP/1.1', ...fields, ...upgrade, '', ''].join('\r\n'));
  await client.waitFor('101');
  return client;
}

t.test('a draining worker finishes requests, keeps tunnels, and ends with the last of them', async (t) => {
  const { proxy, get, fields, server, finishSlow } = await setUp(t);
  const tunnel = await openTunnel(proxy, fields);
  const running = openClient(proxy.port, get('/slow'));
  await server.waitFor('/slow');
  const idle = openClient(proxy.port, get('/x'));
  await idle.waitFor('soon');
  proxy.worker.drain(60_000);
  t.equal(await exchangeBytes(proxy.port, get('/x')), '', 'no new connection is accepted');
  finishSlow();
  const answer = await running.closed;
  t.match(answer, /late$/);
  t.equal(fieldOf(answer, 'connection'), 'close');
  idle.send(get('/y'));
  const second = await idle.closed;
  t.equal(second.match(/soon/g)?.length, 2, 'an idle connection may still ask once');
  t.equal(fieldOf(second.slice(second.indexOf('HTTP/1.1', 5)), 'connection'), 'close');
  tunnel.send('\x81\x02hi');
  await tunnel.waitFor('\x81\x02hi');
  t.equal(proxy.worker.report().connections, 1);
  tunnel.socket.destroy();
  await proxy.ended;
  t.pass('the worker is empty');
});

t.test('the beginning and the end of a drain keep their distance, though time passes between them', async (t) => {
  const { proxy } = await setUp(t);
  proxy.worker.drain(60_000);
  let passedMs = proxy.clock.monotonicMs();
  proxy.clock.monotonicMs = () => passedMs++;
  const { deadline_ms = 0, draining_since_ms = 0 } = proxy.worker.report();
  t.equal(deadline_ms - draining_since_ms, 60_000);
});

t.test('R01: requests on kept connections at any moment around a drain are all answered', async (t) => {
  const { proxy, get, fields } = await setUp(t);
  const post = ['POST /user/anna/x HTTP/1.1', ...fields, 'Content-Length: 3', '', 'abc'].join('\r\n');
  const clients = Array.from({ length: 100 }, () => openClient(proxy.port, get('/x')));
  await Promise.all(clients.map((client) => client.waitFor('soon')));
  // Seeded, so that a failure can be seen again.
  let seed = 71;
  const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
  const asked = clients.map(async (client, index) => {
    await new Promise((resolve) => setTimeout(resolve, random() * 400));
    client.send(index % 2 === 0 ? post : get('/y'));
    const answers = (): number => client.received().match(/HTTP\/1\.1 200 OK.*?soon/gs)?.length ?? 0;
    while (answers() < 2 && !client.socket.readableEnded) await new Promise((resolve) => setTimeout(resolve, 5));
    return answers();
  });
  setTimeout(() => proxy.worker.drain(60_000), 200);
  t.ok((await Promise.all(asked)).every((answers) => answers === 2));
  proxy.worker.end(0);
  await proxy.ended;
});

t.test('a drained worker leaves idle connections alone, an ended one closes them at once', async (t) => {
  const { proxy, get } = await setUp(t);
  const idle = openClient(proxy.port, get('/x'));
  await idle.waitFor('soon');
  proxy.worker.drain(60_000);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.notOk(idle.socket.readableEnded);
  proxy.worker.end(60_000);
  await idle.closed;
  await proxy.ended;
});

t.test('R04: at the deadline WebSockets are closed with 1001, not before, and between two frames', async (t) => {
  const { proxy, fields } = await setUp(t);
  const tunnel = await openTunnel(proxy, fields);
  proxy.worker.drain(400);
  tunnel.send('\x81\x04he');
  await tunnel.waitFor('\x81\x04he');
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.notMatch(tunnel.received(), '\x88');
  await new Promise((resolve) => setTimeout(resolve, 400));
  t.notMatch(tunnel.received(), '\x88', 'a frame has begun');
  tunnel.send('ll\x81\x01x');
  t.match(await tunnel.closed, /\x81\x04hell\x88\x02\x03\xe9$/);
});

t.test(
  'R04: a WebSocket held over five restarts is closed when drain_timeout has passed since the first',
  async (t) => {
    const { proxy, fields } = await setUp(t);
    const tunnel = await openTunnel(proxy, fields);
    proxy.worker.drain(DAY_MS);
    const { deadline_ms: deadline = 0 } = proxy.worker.report();
    t.ok(Math.abs(deadline - proxy.clock.nowMs() - DAY_MS) < 10_000);
    for (let restart = 0; restart < 4; restart++) {
      proxy.clock.offsetMs += 5 * HOUR_MS;
      // Each new supervisor says it again to those it finds.
      proxy.worker.drain(DAY_MS);
      t.ok(Math.abs((proxy.worker.report().deadline_ms ?? 0) - deadline) < 10_000, 'not put off');
    }
    tunnel.send('\x81\x02hi');
    await tunnel.waitFor('\x81\x02hi');
    proxy.clock.offsetMs += 5 * HOUR_MS;
    proxy.worker.drain(DAY_MS);
    t.match(await tunnel.closed, /\x88\x02\x03\xe9$/);
    await proxy.ended;
  },
);

t.test('an ordered end closes everything within its time', async (t) => {
  const { proxy, fields } = await setUp(t);
  const tunnels = await Promise.all(Array.from({ length: 5 }, () => openTunnel(proxy, fields)));
  t.equal(proxy.worker.report().tunnels, 5);
  proxy.worker.end(100);
  for (const tunnel of tunnels) t.match(await tunnel.closed, /\x88\x02\x03\xe9$/);
  await proxy.ended;
});

t.test('a removed route ends its tunnels, a route that stays the same keeps them', async (t) => {
  const { proxy, fields } = await setUp(t);
  const tunnel = await openTunnel(proxy, fields);
  await proxy.setState({ routes: [proxy.annasRoute()] });
  tunnel.send('\x81\x02hi');
  await tunnel.waitFor('\x81\x02hi');
  await proxy.setState({ routes: [proxy.annasRoute({ invocation_id: 'c'.repeat(32) })] });
  t.match(await tunnel.closed, /\x88\x02\x03\xe9$/, 'a new start of the server is another server');
});

t.test('P11: half-closes are passed on both ways', async (t) => {
  const proxy = await startProxy();
  const server = await startUpstream(proxy.serverPath, (_head, socket) => {
    socket.write(SWITCH);
    socket.on('end', () => socket.end('\x81\x03bye', 'latin1'));
  });
  t.teardown(async () => {
    await server.close();
    await proxy.close();
  });
  const ticket = await proxy.key.sign(ticketClaims(Math.floor(Date.now() / SECOND_MS)));
  const fields = [
    `Host: localhost:${proxy.port}`,
    `Cookie: metalhub-ticket=${ticket}`,
    `Origin: http://localhost:${proxy.port}`,
  ];
  const tunnel = await openTunnel(proxy, fields);
  tunnel.socket.end();
  t.match(await tunnel.closed, /\x81\x03bye$/);
});
