import { renameSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DAY_MS, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { defaultRoute } from './proxy-state.js';
import { DEFAULT_STALL_LIMITS } from './stall.js';
import { startFront } from './testing/front.js';
import { ask, fieldOf, openClient, startProxy, statusOf } from './testing/proxy.js';
import { ticketClaims } from './testing/tickets.js';
import { ok, startUpstream } from './testing/upstream.js';

const { answerMs, hubAnswerMs, streamMs } = DEFAULT_STALL_LIMITS;
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n';

function get(port: number, cookie: string, path = '/user/anna/x'): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n${cookie}\r\n\r\n`;
}

function post(port: number, cookie: string, body: string, length = body.length): string {
  const fields = [`Host: localhost:${port}`, cookie, `Origin: http://localhost:${port}`, `Content-Length: ${length}`];
  return `POST /user/anna/x HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n${body}`;
}

t.test('without a server the answer is 503, and the client’s connection can go on', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const cookie = `Cookie: metalhub-ticket=${await proxy.key.sign(ticketClaims(Math.floor(Date.now() / 1000)))}`;
  const client = openClient(proxy.port, get(proxy.port, cookie));
  await client.waitFor('"the server is not running"');
  client.send(post(proxy.port, cookie, 'abc'));
  await client.waitFor('"the server is not running"}\nHTTP/1.1 503 ');
  t.notMatch(client.received(), /Connection: close|sock|ENOENT/i);
  const server = await startUpstream(proxy.serverPath, (_head, socket) => socket.write(ok('back')));
  client.send(get(proxy.port, cookie));
  await client.waitFor('back');
  t.notMatch(server.received(), 'POST');
  client.socket.destroy();
  await server.close();
});

t.test('a socket that nobody listens on is the same as none', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const cookie = `Cookie: metalhub-ticket=${await proxy.key.sign(ticketClaims(Math.floor(Date.now() / 1000)))}`;
  // Renamed, it stays behind when its server closes.
  const listener = createServer();
  await new Promise<void>((resolve) => listener.listen(`${proxy.serverPath}.tmp`, resolve));
  renameSync(`${proxy.serverPath}.tmp`, proxy.serverPath);
  await new Promise((resolve) => listener.close(resolve));
  const answer = await ask(proxy.port, 'GET /user/anna/x', [cookie, 'Accept: text/html']);
  t.equal(statusOf(answer), 503);
  t.match(answer, 'Your server is not running');
  t.equal(fieldOf(answer, 'retry-after'), '5');
  t.match(proxy.worker.report().counters, { 'upstream_errors|server|unreachable': 1 });
});

t.test('a server that never answers gives 504, and its connection is closed', async (t) => {
  let held: Socket | undefined;
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => {
    held = socket;
  });
  const client = openClient(proxy.port, post(proxy.port, cookie, 'abc'));
  await server.waitFor('abc');
  const gone = new Promise((resolve) => held?.once('close', resolve));
  proxy.worker.checkStalls();
  proxy.clock.offsetMs = answerMs - MINUTE_MS;
  proxy.worker.checkStalls();
  t.equal(client.received(), '', 'some take their time');
  proxy.clock.offsetMs = answerMs + MINUTE_MS;
  proxy.worker.checkStalls();
  await client.waitFor('"the server did not answer in time"');
  t.match(client.received(), /^HTTP\/1\.1 504 Gateway Timeout\r\n/);
  t.notMatch(client.received(), /Connection: close/i);
  await gone;
  t.equal(server.received().match(/POST/g)?.length, 1, 'a POST is not sent again');
  client.send(get(proxy.port, cookie));
  await server.waitFor('GET ');
  held?.write(ok('recovered'));
  await client.waitFor('recovered');
  t.match(proxy.worker.report().counters, { 'upstream_errors|server|timeout': 1 });
  client.socket.destroy();
});

t.test('a server that does not take an upload gives 504, too', async (t) => {
  const { proxy, server, cookie } = await startFront(t, () => undefined);
  await server.close();
  const stuck = createServer({ pauseOnConnect: true });
  t.teardown(() => stuck.close());
  await new Promise<void>((resolve) => stuck.listen(proxy.serverPath, resolve));
  const client = openClient(proxy.port, post(proxy.port, cookie, 'x'.repeat(4 * 1024 * 1024), 1e9));
  // Every look is a minute later.
  const looks = setInterval(() => {
    proxy.clock.offsetMs += MINUTE_MS;
    proxy.worker.checkStalls();
  }, 20);
  t.teardown(() => clearInterval(looks));
  t.equal(statusOf(await client.closed), 504, 'then the connection ends: nobody wants the rest of the upload');
});

t.test(
  'a server that hangs in its answer is cut off only after long, as event streams say nothing for long',
  async (t) => {
    const { proxy, cookie } = await startFront(t, (_head, socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
    });
    const client = openClient(proxy.port, get(proxy.port, cookie));
    await client.waitFor('half');
    proxy.worker.checkStalls();
    proxy.clock.offsetMs = streamMs - MINUTE_MS;
    proxy.worker.checkStalls();
    await sleep(50);
    t.notOk(client.socket.destroyed);
    proxy.clock.offsetMs = streamMs + MINUTE_MS;
    proxy.worker.checkStalls();
    t.match(await client.closed, /half$/, 'nothing is put behind an answer that has begun');
    t.match(proxy.worker.report().counters, { 'requests|server|200': 1, 'upstream_errors|server|broken': 1 });
  },
);

t.test('R08: a clock that is set cuts nothing off, and keeps nothing open', async (t) => {
  const { proxy, cookie } = await startFront(t, (_head, socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf');
  });
  const client = openClient(proxy.port, get(proxy.port, cookie));
  await client.waitFor('half');
  for (const days of [0, 1, -1, 400]) {
    proxy.clock.jumpMs = days * DAY_MS;
    proxy.worker.checkStalls();
    await sleep(20);
    t.notOk(client.socket.destroyed, `${days} days`);
  }
  proxy.clock.jumpMs = -DAY_MS;
  proxy.clock.offsetMs = streamMs + MINUTE_MS;
  proxy.worker.checkStalls();
  t.match(await client.closed, /half$/);
});

t.test('a hub that takes a request and says nothing is reported after 20 s, a service has its time', async (t) => {
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const hub = await startUpstream(proxy.hubPath, () => undefined);
  t.teardown(() => hub.close());
  const path = `${proxy.directory}/service.sock`;
  const gone: Promise<unknown>[] = [];
  const service = await startUpstream(path, (_head, socket) => {
    gone.push(new Promise((resolve) => socket.once('close', resolve)));
  });
  t.teardown(() => service.close());
  const target = { kind: 'unix' as const, path };
  await proxy.setState({ routes: [{ ...defaultRoute(path), prefix: '/services/slow/', target }] });
  const toHub = ask(proxy.port, 'GET /hub/home', ['Accept: text/html']);
  const toService = ask(proxy.port, 'GET /services/slow/');
  await hub.waitFor('/hub/home');
  await service.waitFor('/services/slow/');
  proxy.worker.checkStalls();
  proxy.clock.offsetMs = hubAnswerMs - SECOND_MS;
  proxy.worker.checkStalls();
  proxy.clock.offsetMs = hubAnswerMs + SECOND_MS;
  proxy.worker.checkStalls();
  const away = await toHub;
  t.equal(statusOf(away), 503);
  t.match(away, 'The hub is restarting');
  proxy.clock.offsetMs = answerMs - MINUTE_MS;
  proxy.worker.checkStalls();
  t.equal(service.connections, 1);
  proxy.clock.offsetMs = answerMs + MINUTE_MS;
  proxy.worker.checkStalls();
  t.equal(statusOf(await toService), 504);
  await Promise.all(gone);
  t.match(proxy.worker.report().counters, {
    'upstream_errors|hub|timeout': 1,
    'upstream_errors|service|timeout': 1,
  });
});

t.test(
  'who leaves before a service has begun to answer takes the request along, and asks no second time',
  async (t) => {
    const proxy = await startProxy();
    t.teardown(() => proxy.close());
    const gone: Promise<unknown>[] = [];
    const hub = await startUpstream(proxy.hubPath, (_head, socket) => {
      gone.push(new Promise((resolve) => socket.once('close', resolve)));
    });
    t.teardown(() => hub.close());
    for (const [index, method] of ['GET', 'POST'].entries()) {
      const head = `${method} /hub/${index} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`;
      const client = openClient(proxy.port, head);
      await hub.waitFor(`/hub/${index}`);
      client.socket.destroy();
      await gone[index];
    }
    await sleep(200);
    t.equal(hub.connections, 2);
    t.notMatch(JSON.stringify(proxy.worker.report().counters), 'upstream_errors');
  },
);

t.test('a service may be silent in its answer as long as a server, whatever it calls its events', async (t) => {
  const types = [
    'text/event-stream',
    'text/event-stream; charset=utf-8',
    'Text/Event-Stream;charset=UTF-8',
    'text/plain',
  ];
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const hub = await startUpstream(proxy.hubPath, (head, socket) => {
    const type = types[Number(/\/hub\/(\d)/.exec(head)?.[1])];
    socket.write(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nConnection: close\r\n\r\ndata: 1\n\n`);
  });
  t.teardown(() => hub.close());
  const clients = types.map((_, index) =>
    openClient(proxy.port, `GET /hub/${index} HTTP/1.1\r\nHost: localhost\r\n\r\n`),
  );
  for (const client of clients) await client.waitFor('data: 1\n\n');
  proxy.worker.checkStalls();
  proxy.clock.offsetMs = streamMs - MINUTE_MS;
  proxy.worker.checkStalls();
  await sleep(50);
  for (const [index, { socket }] of clients.entries()) t.notOk(socket.destroyed, types[index] ?? '');
  proxy.clock.offsetMs = streamMs + MINUTE_MS;
  proxy.worker.checkStalls();
  for (const client of clients) t.notMatch(await client.closed, /0\r\n\r\n$/, 'cut off');
});

t.test('a server that dies before, in or after its head: 502 until the answer has begun, then the end', async (t) => {
  const deaths: [string, string, RegExp][] = [
    ['before', '', /^HTTP\/1\.1 502 /],
    ['in the head', 'HTTP/1.1 200 OK\r\nContent-Le', /^HTTP\/1\.1 502 /],
    ['garbage', '\x16\x03\x01\x00\r\n\r\n', /^HTTP\/1\.1 502 /],
    ['an old answer', '<html>hello</html>\r\n\r\n', /^HTTP\/1\.1 502 /],
    ['in the body', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nhalf$/],
    [
      'in a chunk',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nha',
      /^HTTP\/1\.1 200 OK\r\n[\s\S]*9\r\nha$/,
    ],
    ['between chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nha\r\n', /2\r\nha\r\n$/],
  ];
  for (const [name, bytes, expected] of deaths) {
    await t.test(name, async (t) => {
      const { proxy, server, cookie } = await startFront(t, (_head, socket) => socket.end(bytes, 'latin1'));
      const client = openClient(proxy.port, post(proxy.port, cookie, 'abc'));
      if (expected.source.includes('502')) {
        await client.waitFor('no valid answer"}\n');
        t.match(client.received(), expected);
        t.notMatch(client.received(), /Connection: close/i, 'the client’s connection goes on');
        client.socket.destroy();
      } else t.match(await client.closed, expected);
      t.equal(server.received().match(/POST/g)?.length, 1, 'a POST is sent once');
    });
  }
});

t.test('P14: answers of a service, which take the other way, are not trusted either', async (t) => {
  const bad = [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
    `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(1024 * 1024)}\r\n\r\n`,
    'HTTP/1.1 200 OK\r\nX: a\nb\r\n\r\n',
    'SSH-2.0-OpenSSH\r\n\r\n',
  ];
  for (const answer of bad) {
    await t.test(answer.slice(0, 60).replaceAll('\r\n', ' '), async (t) => {
      const { proxy } = await startFront(t, (_head, socket) => socket.write(answer));
      const got = await ask(proxy.port, 'GET /hub/x');
      t.ok([502, 503].includes(statusOf(got)), String(statusOf(got)));
    });
  }
  const { proxy, hub } = await startFront(t, (_head, socket) => {
    socket.write(`${ok('first')}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`);
  });
  const client = openClient(proxy.port, 'GET /hub/1 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await client.waitFor('first');
  client.send('GET /hub/2 HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await hub.waitFor('/hub/2');
  await client.waitFor('firstHTTP/1.1 200');
  t.notMatch(client.received(), 'poison');
  client.socket.destroy();
});

t.test('P13: what a service says that cannot be passed on costs its own answer only', async (t) => {
  let text = '';
  const { proxy } = await startFront(t, (_head, socket) => void socket.end(text, 'latin1'));
  const get = (accept: string): Promise<string> => ask(proxy.port, 'GET /hub/x', [`Accept: ${accept}`]);
  for (const accept of ['text/html', '*/*']) {
    for (const status of ['000', '099', '600', '999']) {
      text = `HTTP/1.1 ${status} x\r\nSet-Cookie: a=b\r\nTrailer: X\r\nContent-Encoding: gzip\r\n\r\nbody`;
      const got = await get(accept);
      t.equal(statusOf(got), 503, `${status} ${accept}`);
      t.notMatch(got, /set-cookie|trailer|gzip/i);
    }
    for (const [head, status] of [
      ['204 No Content\r\nTrailer: X', 204],
      ['304 Not Modified\r\nTrailer: X', 304],
      ['200 OK\r\nTrailer: X\r\nContent-Length: 0', 200],
    ] as const) {
      text = `HTTP/1.1 ${head}\r\n\r\n`;
      t.equal(statusOf(await get(accept)), status, head);
    }
    for (const rest of ['Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n', 'Content-Length: 9\r\n\r\npart']) {
      text = `HTTP/1.1 200 OK\r\n${rest}`;
      t.notMatch(await get(accept), /503|0\r\n\r\n$/, 'nothing is put behind an answer that has begun');
    }
    text = 'HTTP/1.1 304 Not Modified\r\n\r\nbody';
    t.notMatch(await get(accept), 'body');
  }
  text = ok('fine');
  t.match(await get('*/*'), /fine$/);
});

t.test('P14: an answer that comes unasked on a kept connection never meets the next request', async (t) => {
  let first: Socket | undefined;
  const { proxy, server, cookie } = await startFront(t, (_head, socket) => {
    first ??= socket;
    socket.write(ok(socket === first ? 'one' : 'two'));
  });
  const client = openClient(proxy.port, get(proxy.port, cookie));
  await client.waitFor('one');
  const gone = new Promise((resolve) => first?.once('close', resolve));
  first?.write(ok('poison'));
  await gone;
  client.send(get(proxy.port, cookie));
  await client.waitFor('two');
  t.notMatch(client.received(), 'poison');
  t.equal(server.connections, 2);
  client.socket.destroy();
});

t.test('P11: a server that ends its side of a WebSocket still gets what the client says', async (t) => {
  let heard = '';
  const { proxy, cookie } = await startFront(t, (_head, socket) => {
    socket.write(SWITCH);
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1');
    });
    socket.end('\x81\x03bye', 'latin1');
  });
  const head = [
    get(proxy.port, cookie, '/user/anna/ws').trimEnd(),
    `Origin: http://localhost:${proxy.port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: eA==',
    '',
    '',
  ];
  const client = openClient(proxy.port, head.join('\r\n'));
  client.socket.allowHalfOpen = true;
  const ended = new Promise((resolve) => client.socket.once('end', resolve));
  await client.waitFor('\x81\x03bye');
  await ended;
  client.socket.end('\x81\x05adieu', 'latin1');
  await client.closed;
  for (let tries = 0; tries < 100 && !heard.includes('adieu'); tries++) await sleep(10);
  t.match(heard, '\x81\x05adieu');
});
