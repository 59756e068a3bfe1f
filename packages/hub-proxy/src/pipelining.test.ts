import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { type Front, startFront } from './testing/front.js';
import { openClient } from './testing/proxy.js';
import { ok } from './testing/upstream.js';

t.setTimeout(600_000);

function get(path: string, ...fields: string[]): string {
  return [`GET ${path} HTTP/1.1`, 'Host: localhost', ...fields, '', ''].join('\r\n');
}

function count(front: Front, name: string): number {
  return front.proxy.worker.report().counters?.[name] ?? 0;
}

t.test('requests that are sent ahead are all answered, in their order', async (t) => {
  const big = 'x'.repeat(100_000);
  const front = await startFront(t, (head, socket) => {
    const path = / (\S+) HTTP/.exec(head)?.[1] ?? '';
    socket.write(ok(path.endsWith('0') ? `${path}${big}` : path));
  });
  const paths = Array.from({ length: 2000 }, (_, index) => `/user/anna/${index}`);
  const client = openClient(front.proxy.port);
  client.send(paths.map((path) => get(path, front.cookie)).join(''));
  // Behind a rest of those that have been read already, one with a body, and the last.
  client.send(get('/user/anna/put', front.cookie, 'Origin: http://localhost').replace('GET', 'PUT').trimEnd());
  client.send('\r\nContent-Length: 40000\r\n\r\n');
  client.send('y'.repeat(40_000));
  client.send(get('/user/anna/last', front.cookie, 'Connection: close'));
  const got = (await client.closed).replaceAll(big, '');
  const answered = [...got.matchAll(/\r\n\r\n(\S*?)(?=HTTP\/1\.1|$)/g)].map(([, body]) => body);
  t.same(answered, [...paths, '/user/anna/put', '/user/anna/last']);
});

t.test('a head that is longer than what is taken ahead is understood behind others', async (t) => {
  const front = await startFront(t, undefined, { edge: { header_bytes: 64 * 1024 } });
  const client = openClient(front.proxy.port);
  const long = get('/user/anna/long', front.cookie, `X-Long: ${'a'.repeat(60_000)}`);
  client.send(get('/user/anna/1', front.cookie).repeat(200) + long + get('/user/anna/2', front.cookie).repeat(200));
  client.send(get('/user/anna/last', front.cookie, 'Connection: close'));
  const got = await client.closed;
  t.equal(got.match(/fine/g)?.length, 402);
});

t.test('P11: of a client that sends 10 MB of small requests little is kept', async (t) => {
  const front = await startFront(t);
  const one = get('/user/anna/');
  const total = Math.ceil((10 * 2 ** 20) / one.length);
  const client = openClient(front.proxy.port);
  client.socket.write(one.repeat(total), 'latin1');
  let most = 0;
  for (let answered = 0; answered < 20_000; ) {
    await sleep(20);
    const received = count(front, 'bytes|received');
    answered = count(front, 'requests|server|401');
    most = Math.max(most, received - answered * one.length);
  }
  t.ok(most < 256 * 1024, `${most} bytes were taken ahead`);
  client.socket.destroy();
});

t.test('P11: a client that asks on and on, but does not read, is neither answered nor waited for', async (t) => {
  const body = 'x'.repeat(60_000);
  const front = await startFront(t, (_head, socket) => void socket.write(ok(body)), {
    edge: { body_timeout_ms: 1500 },
  });
  const client = openClient(front.proxy.port);
  client.socket.pause();
  client.send(get('/user/anna/', front.cookie).repeat(2000));
  // A refusal of our own is as good as an answer of the server.
  client.send(get('/user/anna/').repeat(50_000));
  await front.server.waitFor('GET');
  while (front.proxy.worker.report().connections > 0) await sleep(50);
  const answered = count(front, 'requests|server|200');
  t.ok(answered < 500, `${answered} answers of ${body.length} bytes were taken`);
  client.socket.destroy();
});
