import { type AddressInfo, createServer, type Socket } from 'node:net';
import t from 'tap';
import { defaultRoute, type Route } from './proxy-state.js';
import { openSession, request, startHttp2Front } from './testing/http2-client.js';
import { openClient, startProxy, type TestProxy } from './testing/proxy.js';
import { ok } from './testing/upstream.js';

t.setTimeout(600_000);

const routing = {
  foreign_hub: true,
  upstream_ranges: ['127.0.0.0/8'],
  upstream_ca: '',
  error_pages: [],
  error_target: '',
};

interface Upstream {
  readonly route: Route;
  /** Methods and paths that came, by the connection they came on. */
  readonly asked: string[][];
  readonly sockets: Socket[];
}

/** A server of another hub's, which answers each request with the number of its connection. */
async function listen(t: { teardown(end: () => void): void }): Promise<Upstream> {
  const asked: string[][] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const mine: string[] = [];
    const index = asked.push(mine);
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      for (const line of chunk.toString('latin1').match(/^[A-Z]+ \S+ HTTP\/1\.1$/gm) ?? []) {
        mine.push(line.replace(/ HTTP.*/, ''));
        socket.write(ok(`on ${index}`));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const target = { kind: 'tcp', host: '127.0.0.1', port, tls: false } as const;
  return { route: { ...defaultRoute(), prefix: '/user/zoe/', target, data: {} }, asked, sockets };
}

/** A client that asks for one thing after the other on one connection. */
function visitor({ port }: TestProxy) {
  const client = openClient(port);
  let before = 0;
  return async (line: string): Promise<string> => {
    client.send(`${line} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`);
    while (
      client
        .received()
        .slice(before)
        .match(/\r\n\r\non \d+$/) === null
    )
      await new Promise((resolve) => client.socket.once('data', () => setImmediate(resolve)));
    const answer = client.received().slice(before);
    before = client.received().length;
    return /on \d+$/.exec(answer)?.[0] ?? '';
  };
}

async function setUp(t: { teardown(end: () => Promise<void> | void): void }, trusted: string[] = []) {
  const upstream = await listen(t);
  const proxy = await startProxy({ routing, edge: { trusted_proxies: trusted } });
  t.teardown(() => proxy.close());
  await proxy.setState({ routes: [upstream.route] });
  return { proxy, upstream };
}

t.test('B3: a connection to another hub’s server carries requests of one client connection only', async (t) => {
  const { proxy, upstream } = await setUp(t);
  const [first, second] = [visitor(proxy), visitor(proxy)];
  t.equal(await first('GET /user/zoe/1'), 'on 1');
  t.equal(await second('GET /user/zoe/2'), 'on 2');
  t.equal(await first('GET /user/zoe/3'), 'on 1');
  t.equal(await second('GET /user/zoe/4'), 'on 2');
  t.same(upstream.asked, [
    ['GET /user/zoe/1', 'GET /user/zoe/3'],
    ['GET /user/zoe/2', 'GET /user/zoe/4'],
  ]);
});

t.test('B3: behind a server in front, whose connections carry many visitors, each request has its own', async (t) => {
  const { proxy, upstream } = await setUp(t, ['127.0.0.0/8']);
  const front = visitor(proxy);
  for (const path of ['1', '2', '3']) await front(`GET /user/zoe/${path}`);
  t.equal(upstream.asked.length, 3);
});

t.test('P13: what must not be sent twice goes to such a server on a new connection', async (t) => {
  const { proxy, upstream } = await setUp(t);
  const ask = visitor(proxy);
  t.equal(await ask('GET /user/zoe/1'), 'on 1');
  t.equal(await ask('POST /user/zoe/2'), 'on 2');
  t.equal(await ask('GET /user/zoe/3'), 'on 2', 'which may be used again then');
  upstream.sockets[1]?.destroy();
  t.equal(await ask('GET /user/zoe/4'), 'on 3', 'whenever the server closes it');
});

t.test('another target, or another route, is never asked on the same connection', async (t) => {
  const { proxy, upstream } = await setUp(t);
  const other = await listen(t);
  const ask = visitor(proxy);
  await ask('GET /user/zoe/1');
  await proxy.setState({ routes: [{ ...upstream.route, target: other.route.target }] });
  t.equal(await ask('GET /user/zoe/2'), 'on 1');
  await proxy.setState({ routes: [upstream.route, { ...upstream.route, prefix: '/user/zoe/named/' }] });
  t.equal(await ask('GET /user/zoe/named/3'), 'on 2');
  t.same([...upstream.asked, ...other.asked].flat(), ['GET /user/zoe/1', 'GET /user/zoe/named/3', 'GET /user/zoe/2']);
});

t.test(
  'B3: over HTTP/2 the requests of one connection share what they have, and no other connection gets it',
  async (t) => {
    const upstream = await listen(t);
    const front = await startHttp2Front(t, undefined, {}, {}, { routing });
    await front.proxy.setState({ routes: [upstream.route] });
    const [first, second] = [openSession(front), openSession(front)];
    for (let count = 0; count < 10; count++) {
      for (const [name, session] of Object.entries({ first, second }))
        t.equal((await request(session, front, { ':path': `/user/zoe/${name}` })).status, 200);
    }
    t.ok(upstream.asked.length < 20, `${upstream.asked.length} connections for 20 requests`);
    t.ok(
      upstream.asked.every((mine) => new Set(mine).size === 1),
      'none of both',
    );
  },
);
