import t from 'tap';
import { ask, fieldOf, openClient, startProxy, statusOf } from './testing/proxy.js';
import { ticketClaims } from './testing/tickets.js';
import { ok, startUpstream } from './testing/upstream.js';

async function makeCookie(proxy: Awaited<ReturnType<typeof startProxy>>): Promise<string> {
  return `Cookie: metalhub-ticket=${await proxy.key.sign(ticketClaims(Math.floor(Date.now() / 1000)))}; a=1; _xsrf=2`;
}

t.test('a request with a ticket reaches the server with its token and without the ticket', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const upstream = await startUpstream(proxy.serverPath, (_head, socket) => socket.write(ok('hello')));
  t.teardown(() => upstream.close());
  const answer = await ask(proxy.port, 'GET /user/anna/lab?x=1', [
    await makeCookie(proxy),
    'Authorization: Bearer evil',
  ]);
  t.equal(statusOf(answer), 200);
  t.match(answer, /\r\n\r\nhello$/);
  t.match(upstream.received(), /^GET \/user\/anna\/lab\?x=1 HTTP\/1\.1\r\n/);
  t.match(upstream.received(), `Authorization: token ${'t'.repeat(43)}\r\n`);
  t.match(upstream.received(), 'Cookie: a=1; _xsrf=2\r\n');
  t.notMatch(upstream.received(), /metalhub|evil/);
});

t.test('requests on one connection stay in step and share one upstream connection', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const upstream = await startUpstream(proxy.serverPath, (head, socket) => {
    socket.write(ok(head.split(' ', 2)[1] ?? ''));
  });
  t.teardown(() => upstream.close());
  const cookie = await makeCookie(proxy);
  const one = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost:${proxy.port}\r\n${cookie}\r\n\r\n`;
  const client = openClient(proxy.port, one('/user/anna/1') + one('/user/anna/2'));
  await client.waitFor('\r\n\r\n/user/anna/2');
  const origin = `Origin: http://localhost:${proxy.port}`;
  client.send(
    `POST /user/anna/3 HTTP/1.1\r\nHost: localhost:${proxy.port}\r\n${cookie}\r\n${origin}\r\nContent-Length: 3\r\n\r\nabc`,
  );
  await client.waitFor('\r\n\r\n/user/anna/3');
  client.send(one('/user/anna/4'));
  await client.waitFor('\r\n\r\n/user/anna/4');
  t.equal(upstream.connections, 1);
  client.socket.destroy();
});

t.test('pages of the hub go through, with the visitor’s host and all cookies', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const hub = await startUpstream(proxy.hubPath, (_head, socket) =>
    socket.end(ok('home', ['Set-Cookie: metalhub-session=1; Path=/hub/'])),
  );
  t.teardown(() => hub.close());
  const answer = await ask(proxy.port, 'GET /hub/home?a=%20b', [
    'Cookie: metalhub-session=s',
    'X-Forwarded-For: 6.6.6.6',
  ]);
  t.equal(statusOf(answer), 200);
  t.equal(fieldOf(answer, 'set-cookie'), 'metalhub-session=1; Path=/hub/');
  t.match(answer, /home$/);
  t.match(hub.received(), /^GET \/hub\/home\?a=%20b HTTP\/1\.1\r\n/);
  t.match(hub.received().toLowerCase(), `host: 127.0.0.1:${proxy.port}\r\n`);
  t.match(hub.received().toLowerCase(), 'cookie: metalhub-session=s\r\n');
  t.match(hub.received().toLowerCase(), 'x-forwarded-for: 127.0.0.1\r\n');
  t.notMatch(hub.received().toLowerCase(), /6\.6\.6\.6|x-metalhub/);
});

t.test('a WebSocket goes through as bytes once the server has agreed', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const upstream = await startUpstream(proxy.serverPath, (_head, socket) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    );
    socket.on('data', (chunk) => socket.write(chunk));
  });
  t.teardown(() => upstream.close());
  const head = [
    'GET /user/anna/api/kernels/1/channels HTTP/1.1',
    `Host: localhost:${proxy.port}`,
    await makeCookie(proxy),
    `Origin: http://localhost:${proxy.port}`,
    'Connection: keep-alive, Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: eA==',
    'Sec-WebSocket-Version: 13',
  ];
  const client = openClient(proxy.port, `${head.join('\r\n')}\r\n\r\n`);
  await client.waitFor('101 Switching Protocols');
  client.send('ping!');
  await client.waitFor('ping!');
  t.equal(proxy.worker.report().tunnels, 1);
  client.socket.destroy();
});

t.test('when the hub is away a visitor gets a page that tries again, a program gets JSON', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const page = await ask(proxy.port, 'GET /hub/home', ['Accept: text/html']);
  t.equal(statusOf(page), 503);
  t.equal(fieldOf(page, 'retry-after'), '3');
  t.match(page, 'http-equiv="refresh"');
  const json = await ask(proxy.port, 'POST /hub/api/users', ['Content-Length: 2'], '{}');
  t.equal(statusOf(json), 503);
  t.match(json, '"status":503');
});
