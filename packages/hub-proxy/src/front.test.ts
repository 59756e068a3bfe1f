import { once } from 'node:events';
import t from 'tap';
import { parseRequestTarget } from './path.js';
import { defaultRoute } from './proxy-state.js';
import { RouteTable } from './route-table.js';
import { startFront } from './testing/front.js';
import { ask, exchangeBytes, fieldOf, openClient, statusOf } from './testing/proxy.js';
import { Random } from './testing/random.js';
import { ok } from './testing/upstream.js';

const TARGET_PIECES = [
  '/',
  'a',
  '.',
  '..',
  '%2e',
  '%2f',
  '%5c',
  '%20',
  ';',
  ':',
  '@',
  '?',
  '=',
  '%00',
  '\\',
  '%',
  '[',
  '~',
  '//',
  'anna/',
  '#',
  '%C3%BC',
  '%c0%ae',
] as const;
const PLACES = ['/hub/x', '/user/anna/x'];

t.test('P01 P02 P03 P06: what is refused reaches no upstream with a single byte', async (t) => {
  const { proxy, server, hub, cookie } = await startFront(t);
  const host = `Host: localhost:${proxy.port}\r\n${cookie}\r\nOrigin: http://localhost:${proxy.port}`;
  const requests = (path: string): string[] => [
    `POST ${path} HTTP/1.1\r\n${host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nContent-Length: +2\r\n\r\nab`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nContent-Length: 2,2\r\n\r\nab`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nContent-Length : 0\r\n\r\n`,
    `POST ${path} HTTP/1.1\n${host}\n\n`,
    `POST ${path} HTTP/1.1\r\n${host}\nX: y\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nX: a\rb\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nX: a\0b\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff3\r\nabc\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.0\r\n${host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `GET ${path}\r\n`,
    `GET ${path} HTTP/1.2\r\n${host}\r\n\r\n`,
    `get ${path} HTTP/1.1\r\n${host}\r\n\r\n`,
    `${'G'.repeat(9 * 1024)} ${path} HTTP/1.1\r\n${host}\r\n\r\n`,
    `CONNECT ${path} HTTP/1.1\r\n${host}\r\n\r\n`,
    `CONNECT evil.example:443 HTTP/1.1\r\n${host}\r\n\r\n`,
    `OPTIONS * HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nHost: localhost\r\n\r\n`,
    ...['', 'a@b', 'a/b?c', '[::1', 'evil.example', 'localhost.evil.example', 'localhost, evil.example'].map(
      (name) => `GET ${path} HTTP/1.1\r\nHost: ${name}\r\n\r\n`,
    ),
    `GET file:///etc/passwd HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET http://169.254.169.254/ HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET http://evil.example${path} HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET http://localhost:${proxy.port}${path} HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET ${path}/../../bob HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nab`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly`,
    `GET ${path} HTTP/1.1\r\n${host}\r\n${Array.from({ length: 100 }, (_, index) => `X-${index}: y`).join('\r\n')}\r\n\r\n`,
    `GET ${path}/${'a'.repeat(9 * 1024)} HTTP/1.1\r\n${host}\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nConnection: close, Cookie\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n${host}\r\nExpect: miracles\r\n\r\n`,
  ];
  for (const request of PLACES.flatMap(requests)) {
    const answer = await exchangeBytes(proxy.port, request);
    t.match(String(statusOf(answer)), /^(400|405|414|417|421|431|505)$/, JSON.stringify(request.slice(0, 70)));
    t.equal(fieldOf(answer, 'connection'), 'close');
    t.equal(answer.indexOf('HTTP/1.1', 5), -1, 'one answer');
  }
  t.equal(server.received(), '');
  t.equal(hub.received(), '');
  t.equal(server.connections, 0);
  t.notMatch(JSON.stringify(proxy.log.lines), /evil|abcd|miracles/, 'no byte of a request is logged');
  // Ten in each ten seconds, and how many more there were.
  t.ok(proxy.log.lines.length < 25, 'the log is bounded');
});

t.test('P03: what a server hears of the host has one form, however it was written', async (t) => {
  const { proxy, server, cookie } = await startFront(t);
  for (const host of ['LOCALHOST', 'localhost.', 'LocalHost.', 'localhost']) {
    await exchangeBytes(
      proxy.port,
      `GET /user/anna/x HTTP/1.1\r\nHost: ${host}:80\r\nConnection: close\r\n${cookie}\r\n\r\n`,
    );
  }
  t.equal(server.received().match(/^Host: localhost:80\r$/gm)?.length, 4);
  t.equal(server.received().match(/^X-Forwarded-Host: localhost:80\r$/gm)?.length, 4);
});

t.test(
  'P04: of 100,000 random targets the server gets those that are accepted, byte for byte',
  { timeout: 110_000 },
  async (t) => {
    const { proxy, cookie } = await startFront(t, (head, socket) => socket.write(ok(head.split(' ', 2)[1] ?? '')));
    const random = new Random(7);
    const accepted: string[] = [];
    const refused: string[] = [];
    for (let round = 0; round < 100_000; round++) {
      let target = random.once(4) ? '/user/' : '/user/anna/';
      for (let count = random.below(7); count > 0; count--) target += random.pick(TARGET_PIECES);
      (parseRequestTarget(target) === undefined ? refused : accepted).push(target);
    }
    const table = new RouteTable([defaultRoute(proxy.hubPath), proxy.annasRoute()]);
    const annas = accepted.filter(
      (target) => table.findRoute(target.split('?', 1)[0] ?? '', 'localhost')?.prefix !== '/',
    );
    const forwarded = [...new Set(annas)].filter(
      (target) => target.startsWith('/user/anna/') && !target.startsWith('/user/anna/.metalhub/'),
    );
    t.ok(forwarded.length > 5000, `${forwarded.length} different ones go to the server`);
    for (let at = 0; at < forwarded.length; at += 60) {
      const some = forwarded.slice(at, at + 60);
      const requests = some.map((target) => `GET ${target} HTTP/1.1\r\nHost: localhost\r\n${cookie}\r\n\r\n`);
      const client = openClient(proxy.port, requests.join(''));
      const expected = some.map((target) => ok(target)).join('');
      while (client.received().length < expected.length && !client.socket.destroyed) await once(client.socket, 'data');
      if (client.received() !== expected) t.equal(client.received(), expected);
      client.socket.destroy();
    }
    for (const target of refused.slice(0, 150)) {
      t.equal(statusOf(await ask(proxy.port, `GET ${target}`, [cookie])), 400, target);
    }
  },
);

t.test('P05: only the proxy says where a request comes from', async (t) => {
  const { proxy, server, hub, cookie } = await startFront(t);
  const names = [
    'X-Forwarded-For',
    'x-forwarded-for',
    'X_Forwarded_For',
    'X-Forwarded_Proto',
    'X-Forwarded-Host',
    'X-Forwarded-Port',
    'X-Forwarded',
    'X-Forwarded-User',
    'Forwarded',
    'X-Real-IP',
    'X_Real_Ip',
    'X-Scheme',
    'X-Metalhub-Proxy',
    'x_metalhub_target',
    'X-Metalhub-Target',
  ];
  for (const path of PLACES)
    await ask(proxy.port, `GET ${path}`, [cookie, ...names.map((name) => `${name}: /evil/666`)]);
  for (const received of [server.received(), hub.received()]) {
    t.notMatch(received, '666');
    t.equal(received.match(/^x-forwarded-for: 127\.0\.0\.1\r$/gim)?.length, 1);
    t.equal(received.match(/^x-forwarded-proto: http\r$/gim)?.length, 1);
    t.equal(received.match(new RegExp(`^x-forwarded-host: 127\\.0\\.0\\.1:${proxy.port}\\r$`, 'gim'))?.length, 1);
    t.equal(received.match(/^x-real-ip: 127\.0\.0\.1\r$/gim)?.length, 1);
  }
});

t.test('P07: an upgrade that the server does not grant is a plain answer, and the end of the connection', async (t) => {
  const refusals = [
    ok('no'),
    'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno',
    'HTTP/1.1 302 Found\r\nLocation: /user/anna/login\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
  ];
  for (const refusal of refusals) {
    await t.test(refusal.slice(9, 60).replaceAll('\r\n', ' '), async (t) => {
      const { proxy, server, cookie } = await startFront(t, (_head, socket) => socket.write(refusal));
      const origin = `Origin: http://localhost:${proxy.port}`;
      const upgrade = [
        'GET /user/anna/ws HTTP/1.1',
        `Host: localhost:${proxy.port}`,
        cookie,
        origin,
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Key: eA==',
      ];
      const client = openClient(proxy.port, `${upgrade.join('\r\n')}\r\n\r\n`);
      await client.waitFor('\r\n\r\n');
      client.send('\x81\x05tunnel');
      const answer = await client.closed;
      t.equal(statusOf(answer), refusal.includes(' 101 ') ? 502 : statusOf(refusal));
      t.equal(fieldOf(answer, 'connection'), 'close');
      t.notMatch(server.received(), 'tunnel');
    });
  }
});

t.test('P06: nothing is passed on before the server has agreed, and what came too early ends both', async (t) => {
  let agree: () => void = () => undefined;
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => {
    agree = () =>
      void socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
      );
  });
  const fields = [`Host: localhost:${proxy.port}`, cookie, `Origin: http://localhost:${proxy.port}`];
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: eA=='];
  const client = openClient(proxy.port, ['GET /user/anna/ws HTTP/1.1', ...fields, ...upgrade, '', ''].join('\r\n'));
  await server.waitFor('\r\n\r\n');
  client.send('\x81\x05early');
  // Long enough for it to have been read.
  await new Promise((resolve) => setTimeout(resolve, 100));
  agree();
  await client.closed;
  t.notMatch(server.received(), 'early');
});

t.test('P13: a server’s garbage becomes 502 and a POST is sent once', async (t) => {
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => socket.end('SSH-2.0-OpenSSH\r\n\r\n'));
  const post = [
    'POST /user/anna/x HTTP/1.1',
    `Host: localhost:${proxy.port}`,
    cookie,
    `Origin: http://localhost:${proxy.port}`,
    'Content-Length: 3',
    'Connection: close',
  ];
  const answer = await exchangeBytes(proxy.port, `${post.join('\r\n')}\r\n\r\nabc`);
  t.equal(statusOf(answer), 502);
  t.notMatch(answer, /sock|\/run|SSH/);
  t.equal(server.received().match(/POST/g)?.length, 1);
});

t.test('P13: a POST to the hub whose connection breaks is not sent again, a GET is, once', async (t) => {
  const { proxy, hub } = await startFront(t, (_head, socket) => socket.destroy());
  t.equal(statusOf(await ask(proxy.port, 'POST /hub/x', ['Content-Length: 3'], 'abc')), 503);
  t.equal(hub.connections, 1);
  t.equal(statusOf(await ask(proxy.port, 'GET /hub/x')), 503);
  t.ok(hub.connections <= 3);
});

t.test('P14: surplus bytes of an answer never meet the next request', async (t) => {
  let count = 0;
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => {
    count++;
    socket.write(count === 1 ? `${ok('first')}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison` : ok('second'));
  });
  const one = `GET /user/anna/x HTTP/1.1\r\nHost: localhost:${proxy.port}\r\n${cookie}\r\n\r\n`;
  const client = openClient(proxy.port, one);
  await client.waitFor('first');
  client.send(one);
  await client.waitFor('second');
  t.notMatch(client.received(), 'poison');
  t.equal(server.connections, 2);
  client.socket.destroy();
});

t.test('P14: an answer that cannot be trusted becomes 502', async (t) => {
  const bad = [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(1024 * 1024)}\r\n\r\n`,
    'HTTP/1.1 100 Continue\r\n\r\n'.repeat(10_000),
    'HTTP/1.1 200 OK\r\nX: a\nb\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n X: folded\r\n\r\nabc',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
  ];
  for (const answer of bad) {
    await t.test(answer.slice(0, 40).replaceAll('\r\n', ' '), async (t) => {
      const { proxy, cookie } = await startFront(t, (_head, socket) => socket.write(answer));
      const got = await ask(proxy.port, 'GET /user/anna/x', [cookie]);
      const final = got.replace(/^(HTTP\/1\.1 100 Continue\r\n\r\n)+/, '');
      t.equal(statusOf(final), 502);
    });
  }
});
