import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { startFront } from './testing/front.js';
import { ask, exchangeBytes, fieldOf, openClient, startProxy, statusOf } from './testing/proxy.js';
import { ok, startUpstream } from './testing/upstream.js';

t.test('a body in chunks and its answer in chunks pass byte for byte', async (t) => {
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n');
  });
  const lines = [
    'PUT /user/anna/f HTTP/1.1',
    `Host: localhost:${proxy.port}`,
    cookie,
    `Origin: http://localhost:${proxy.port}`,
    'Transfer-Encoding: chunked',
    'Connection: close',
  ];
  const answer = await exchangeBytes(proxy.port, `${lines.join('\r\n')}\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`);
  t.match(answer, /\r\n\r\n4\r\nwiki\r\n0\r\n\r\n$/);
  t.match(server.received(), /\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n$/);
});

t.test('a client of HTTP/1.0 gets the content without chunks', async (t) => {
  const { proxy, cookie } = await startFront(t, (_head, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n0\r\n\r\n');
  });
  const answer = await exchangeBytes(proxy.port, `GET /user/anna/f HTTP/1.0\r\nHost: localhost\r\n${cookie}\r\n\r\n`);
  t.match(answer, /\r\n\r\nwiki$/);
  t.equal(fieldOf(answer, 'transfer-encoding'), undefined);
});

t.test('HEAD, 204 and 304 have no body and keep the connection in step', async (t) => {
  const { proxy, cookie } = await startFront(t, (head, socket) => {
    const kind = head.split(' ', 2)[1];
    if (kind?.endsWith('/204')) socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    else if (kind?.endsWith('/304'))
      socket.write('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 99\r\n\r\n');
    else socket.write(head.startsWith('HEAD') ? 'HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n' : ok('last'));
  });
  const one = (line: string) => `${line} HTTP/1.1\r\nHost: localhost\r\n${cookie}\r\n\r\n`;
  const all =
    one('HEAD /user/anna/h') + one('GET /user/anna/204') + one('GET /user/anna/304') + one('GET /user/anna/end');
  const client = openClient(proxy.port, all);
  await client.waitFor('last');
  t.match(
    client.received(),
    /200 OK\r\nContent-Length: 42\r\n\r\nHTTP\/1\.1 204 No Content\r\n\r\nHTTP\/1\.1 304 Not Modified\r\n/,
  );
  client.socket.destroy();
});

t.test('100 Continue is passed on before the body is sent', async (t) => {
  const { proxy, server, cookie } = await startFront(t);
  const lines = [
    'PUT /user/anna/f HTTP/1.1',
    `Host: localhost:${proxy.port}`,
    cookie,
    `Origin: http://localhost:${proxy.port}`,
    'Content-Length: 4',
    'Expect: 100-continue',
  ];
  const client = openClient(proxy.port, `${lines.join('\r\n')}\r\n\r\n`);
  await client.waitFor('HTTP/1.1 100 Continue\r\n\r\n');
  client.send('body');
  await client.waitFor('fine');
  t.match(server.received(), /\r\n\r\nbody$/);
  client.socket.destroy();
});

t.test('when a client goes away its request to the server ends too', async (t) => {
  let upstreamClosed: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => {
    upstreamClosed = resolve;
  });
  const { proxy, server, cookie } = await startFront(t, (_head, socket) =>
    socket.once('close', () => upstreamClosed()),
  );
  const client = openClient(proxy.port, `GET /user/anna/slow HTTP/1.1\r\nHost: localhost\r\n${cookie}\r\n\r\n`);
  await server.waitFor('/slow');
  client.socket.destroy();
  await closed;
  t.pass('the connection to the server was closed');
});

t.test('also behind an upload, and when it had begun to send a next request', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const hub = await startUpstream(proxy.hubPath, () => undefined);
  t.teardown(() => hub.close());
  const client = openClient(proxy.port, 'POST /hub/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40004\r\n\r\nsome');
  await hub.waitFor('some');
  client.send(`${'x'.repeat(39_995)}whole`);
  await hub.waitFor('whole');
  client.socket.end('GET');
  while (proxy.worker.report().connections > 0) await sleep(10);
  t.match(proxy.worker.report().counters, { aborted: 1 });
});

t.test('P11: a reader that stops reading stops its server, and does not fill this process', async (t) => {
  const size = 256 * 1024 * 1024;
  let written = 0;
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    const block = Buffer.alloc(1024 * 1024);
    const more = (): void => {
      while (written < size) {
        written += block.length;
        if (!socket.write(block)) return void socket.once('drain', more);
      }
    };
    more();
  });
  const before = residentBytes();
  const client = openClient(proxy.port);
  client.socket.pause();
  client.send(`GET /user/anna/big HTTP/1.1\r\nHost: localhost\r\n${cookie}\r\n\r\n`);
  await server.waitFor('/big');
  let last = -1;
  while (last !== written) {
    last = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  t.ok(written < 64 * 1024 * 1024, `${written} bytes were taken from the server`);
  t.ok(residentBytes() - before < 64 * 1024 * 1024);
  client.socket.destroy();
});

t.test('an event stream of the hub comes through as it is written', async (t) => {
  let stream: Socket | undefined;
  const proxy = await startProxy();
  const hub = await startUpstream(proxy.hubPath, (_head, socket) => {
    stream = socket;
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
  });
  t.teardown(async () => {
    await hub.close();
    await proxy.close();
  });
  const client = openClient(proxy.port, 'GET /hub/progress HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await client.waitFor('\r\n\r\n');
  stream?.write('8\r\ndata: 1\n\r\n');
  await client.waitFor('data: 1\n');
  stream?.write('8\r\ndata: 2\n\r\n');
  await client.waitFor('data: 2\n');
  const gone = new Promise((resolve) => stream?.once('close', resolve));
  client.socket.destroy();
  await gone;
  t.pass('and the hub hears of the end');
});

t.test('U06: hop-by-hop fields and hub cookies end at the proxy, on the way back too', async (t) => {
  const { proxy, server, cookie } = await startFront(t, (_head, socket) =>
    socket.write(
      ok('x', [
        'Set-Cookie: metalhub-session=evil; Path=/user/anna/',
        'Set-Cookie: ok=1; Path=/user/anna/',
        'Set-Cookie: evil=1; Path=/',
        'Clear-Site-Data: "*"',
        'Service-Worker-Allowed: /user/anna/../../',
        'Service-Worker-Allowed: /user/anna/',
        'Connection: X-Hop',
        'X-Hop: 1',
        'Keep-Alive: timeout=5',
      ]),
    ),
  );
  const answer = await ask(proxy.port, 'GET /user/anna/x', [
    cookie,
    'TE: trailers',
    'Keep-Alive: 1',
    'Proxy-Authorization: x',
    'Foo: 1',
    'Connection: Foo',
  ]);
  t.match(answer, 'Set-Cookie: ok=1; Path=/user/anna/');
  t.notMatch(answer, /evil|Clear-Site|Service-Worker|X-Hop|Keep-Alive/);
  t.notMatch(server.received(), /^(te|keep-alive|proxy-authorization|foo|connection):/im);
});

t.test('P09: a head that does not come in ten seconds is given up, one byte at a time or not at all', async (t) => {
  const { proxy, server, cookie } = await startFront(t);
  const startedMs = performance.now();
  const silent = openClient(proxy.port);
  const slow = openClient(proxy.port, 'GET /user/anna/x HTTP/1.1\r\n');
  const drip = setInterval(() => slow.send('X'), 1000);
  t.teardown(() => clearInterval(drip));
  await Promise.all([silent.closed, slow.closed]);
  const tookMs = performance.now() - startedMs;
  t.ok(tookMs > 9000 && tookMs < 14_000, `${tookMs} ms`);
  t.equal(server.received(), '');
  t.equal(statusOf(await ask(proxy.port, 'GET /user/anna/x', [cookie])), 200);
});

/** Without garbage that waits to be collected it would be exact; the bound is wide. */
function residentBytes(): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024;
}
