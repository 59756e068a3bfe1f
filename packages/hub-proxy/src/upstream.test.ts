import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createSocketServer, type Server } from 'node:net';
import t from 'tap';
import { AddressRanges } from './address-ranges.js';
import { defaultRoute, type Route } from './proxy-state.js';
import type { Target } from './target.js';
import { makeCertificate } from './testing/certificates.js';
import { ask, fieldOf, openClient, startProxy, statusOf } from './testing/proxy.js';
import { connectStream } from './upstream.js';

/** It signs itself, so it is its own authority too. Not for 127.0.0.1. */
const LOCALHOST = makeCertificate(['localhost']);
const RANGES = ['127.0.0.0/8', '::1/128'];

async function listening(t: { teardown(end: () => void): void }, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

t.test('an encrypted upstream must show a certificate for its name, from an authority that is trusted', async (t) => {
  const port = await listening(
    t,
    createTlsServer(LOCALHOST, (_request, response) => void response.end('fine')),
  );
  const open = async (host: string, ca?: string) => {
    const target: Target = { kind: 'tcp', host, port, tls: true };
    const socket = await connectStream(target, () => false, { ranges: new AddressRanges(RANGES), ca });
    socket.destroy();
  };
  await open('localhost', LOCALHOST.cert);
  await t.rejects(open('localhost'), 'an authority that nobody knows');
  await t.rejects(open('127.0.0.1', LOCALHOST.cert), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }, 'another name');
});

t.test('a connection that is not made in time is given up', async (t) => {
  const port = await listening(
    t,
    createSocketServer((socket) => t.teardown(() => void socket.destroy())),
  );
  const target: Target = { kind: 'tcp', host: '127.0.0.1', port, tls: true };
  const options = { ranges: new AddressRanges(RANGES), ca: undefined };
  const startedMs = performance.now();
  await t.rejects(
    connectStream(target, () => false, options, 200),
    { message: 'no connection in time' },
  );
  t.ok(performance.now() - startedMs < 5000);
});

t.test('B8: neither an address nor a name leads outside the configured ranges', async (t) => {
  const port = await listening(t, createServer());
  const open = async (host: string, ranges: readonly string[]) => {
    const target: Target = { kind: 'tcp', host, port, tls: false };
    const socket = await connectStream(target, () => false, { ranges: new AddressRanges(ranges), ca: undefined });
    socket.destroy();
  };
  await open('127.0.0.1', RANGES);
  await open('localhost', RANGES);
  for (const host of ['127.0.0.1', 'localhost']) {
    await t.rejects(open(host, ['10.0.0.0/8']), { name: 'AddressRefused' }, host);
    await t.rejects(open(host, []), { name: 'AddressRefused' }, host);
  }
  const ranges = new AddressRanges(['10.0.0.0/8', 'fd00::/8']);
  for (const address of ['10.1.2.3', '::ffff:10.1.2.3', 'fd12::1']) t.ok(ranges.allows(address), address);
  for (const address of ['11.0.0.1', '::ffff:11.0.0.1', '::1', 'name', '']) t.notOk(ranges.allows(address), address);
});

t.test(
  'requests, bodies and WebSockets pass to TCP and TLS upstreams, below a base path and on hosts of their own',
  async (t) => {
    const handle =
      (name: string) =>
      (request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => {
        let body = '';
        request.on('data', (chunk) => (body += chunk));
        request.on('end', () =>
          response.end(`${name} ${request.method} ${request.url} ${request.headers.host} ${body}`),
        );
      };
    const upgrade = (_request: unknown, socket: import('node:stream').Duplex): void => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
      );
      socket.pipe(socket);
    };
    const plain = createServer(handle('plain')).on('upgrade', upgrade);
    const tls = createTlsServer(LOCALHOST, handle('tls')).on('upgrade', upgrade);
    const [plainPort, tlsPort] = [await listening(t, plain), await listening(t, tls)];
    const routing = {
      foreign_hub: true,
      upstream_ranges: RANGES,
      upstream_ca: LOCALHOST.cert,
      error_pages: [],
      error_target: '',
    };
    const proxy = await startProxy({ routing, hosts: ['127.0.0.1', '*.example.org'] });
    t.teardown(() => proxy.close());
    const route = (prefix: string, target: Target, host: string | null = null): Route => {
      return { ...defaultRoute(), prefix, host, target, data: {} };
    };
    await proxy.setState({
      routes: [
        route('/', { kind: 'tcp', host: '127.0.0.1', port: plainPort, tls: false }),
        route('/secure/', { kind: 'tcp', host: 'localhost', port: tlsPort, tls: true }),
        route('/based/', { kind: 'tcp', host: '127.0.0.1', port: plainPort, tls: false, base_path: '/deep/er' }),
        route('/wrong-name/', { kind: 'tcp', host: '127.0.0.1', port: tlsPort, tls: true }),
        route('/outside/', { kind: 'tcp', host: '10.0.0.1', port: 80, tls: false }),
        route('/x/', { kind: 'tcp', host: 'localhost', port: tlsPort, tls: true }, 'anna.example.org'),
      ],
    });
    const host = `127.0.0.1:${proxy.port}`;
    const body = 'hello';
    const length = [`Content-Length: ${body.length}`];
    t.match(await ask(proxy.port, 'POST /a?b', length, body), `plain POST /a?b ${host} hello`);
    t.match(await ask(proxy.port, 'POST /secure/a', length, body), `tls POST /secure/a ${host} hello`);
    t.match(await ask(proxy.port, 'GET /based/a?b'), `plain GET /deep/er/based/a?b ${host}`);
    for (const path of ['/wrong-name/', '/outside/']) {
      const answer = await ask(proxy.port, `GET ${path}`);
      t.equal(statusOf(answer), 503, path);
      t.equal(fieldOf(answer, 'content-type'), 'application/json');
      t.notMatch(answer, /10\.0\.0\.1|tls|certificate/i, 'P13: nothing of the inside');
    }
    const onHost = (name: string, path: string) =>
      openClient(proxy.port, `GET ${path} HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`).closed;
    t.match(await onHost('anna.example.org', '/x/y'), 'tls GET /x/y anna.example.org');
    t.match(await onHost('bert.example.org', '/x/y'), 'plain GET /x/y', 'another host has its own routes, or /');
    t.match(await onHost('anna.example.org', '/secure/y'), 'plain GET /secure/y', 'and so has this one');
    for (const path of ['/ws', '/secure/ws']) {
      const head = ['GET', path, 'HTTP/1.1\r\nHost:', host];
      const fields = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n';
      const client = openClient(proxy.port, `${head.join(' ')}\r\n${fields}`);
      await client.waitFor('101');
      client.send('\x81\x02hi');
      await client.waitFor('\x81\x02hi');
      client.socket.destroy();
    }
  },
);

t.test('the administrator’s pages, and another hub’s, are shown to people; programs get JSON', async (t) => {
  const asked: string[] = [];
  const pages = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.setHeader('content-type', 'text/html');
    response.setHeader('set-cookie', 'a=b');
    response.end('<p>theirs</p>');
  });
  const port = await listening(t, pages);
  const error_pages = [{ status: 503, html: '<p>ours</p>' }];
  const page = ['Accept: text/html'];
  const own = await startProxy({
    routing: { foreign_hub: false, upstream_ranges: [], upstream_ca: '', error_pages, error_target: '' },
  });
  t.teardown(() => own.close());
  const away = await ask(own.port, 'GET /hub/home', page);
  t.equal(statusOf(away), 503);
  t.match(away, '<p>ours</p>');
  t.match(await ask(own.port, 'GET /hub/home'), '"status":503');
  const error_target = `http://127.0.0.1:${port}/hub/error`;
  const routing = { foreign_hub: true, upstream_ranges: RANGES, upstream_ca: '', error_pages, error_target };
  const theirs = await startProxy({ routing });
  t.teardown(() => theirs.close());
  const dead: Route = {
    ...defaultRoute(),
    prefix: '/user/x/',
    data: {},
    target: { kind: 'tcp', host: '127.0.0.1', port: 1, tls: false },
  };
  await theirs.setState({ routes: [dead] });
  const shown = await ask(theirs.port, 'GET /user/x/lab?a=b', page);
  t.equal(statusOf(shown), 503);
  t.match(shown, '<p>theirs</p>');
  t.notMatch(shown, /set-cookie/i);
  t.same(asked, ['/hub/error/503?url=%2Fuser%2Fx%2Flab%3Fa%3Db']);
  t.match(await ask(theirs.port, 'GET /user/x/lab'), '"status":503');
  pages.close();
  t.match(await ask(theirs.port, 'GET /user/x/lab', page), '<p>ours</p>', 'when there is none to be had');
  t.match(await ask(theirs.port, 'GET /', page), '<p>ours</p>', 'no route at all');
});
