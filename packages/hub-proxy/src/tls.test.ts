import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import t from 'tap';
import { addressText } from './listen-address.js';
import { makeCertificate, tlsSettings } from './testing/certificates.js';
import { type Front, startFront } from './testing/front.js';
import { ask, fieldOf, openClient, statusOf } from './testing/proxy.js';
import { ok } from './testing/upstream.js';
import { TICKET_KEY_LIFETIME_MS, ticketKeyLeftMs } from './tls-material.js';

t.setTimeout(600_000);

const certificate = makeCertificate();
const tls = tlsSettings(certificate);
const SECURE = { is_secure: true, public_origin: 'https://hub.example.org' };

type Answer = NonNullable<Parameters<typeof startFront>[1]>;

function startTlsFront(
  t: { teardown(end: () => Promise<void>): void },
  changes: Partial<typeof tls> = {},
  answer?: Answer,
): Promise<Front> {
  return startFront(t, answer, { ...SECURE, edge: { tls: { ...tls, ...changes } } });
}

/** Session tickets that came, per socket: those of TLS 1.2 come before the handshake ends. */
const opened = new Set<TLSSocket>();

t.afterEach(() => {
  for (const socket of opened) socket.destroy();
  opened.clear();
});

const sessions = new WeakMap<TLSSocket, Promise<Buffer>>();

function open(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      port,
      host: '127.0.0.1',
      servername: 'hub.example.org',
      ca: certificate.cert,
      ...options,
    });
    opened.add(socket);
    sessions.set(socket, new Promise((found) => socket.once('session', found)));
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Everything that comes until the proxy closes. */
async function exchange(port: number, bytes: string, options: ConnectionOptions = {}): Promise<string> {
  const socket = await open(port, options);
  let all = '';
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    all += text;
  });
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return all;
}

function get(path: string, fields: readonly string[] = [], host = 'hub.example.org'): string {
  return [`GET ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close', ...fields, '', ''].join('\r\n');
}

t.test('a request over TLS reaches its server, which hears that it was encrypted', async (t) => {
  const front = await startTlsFront(t);
  const answer = await exchange(front.proxy.port, get('/user/anna/api', [front.cookie]));
  t.equal(statusOf(answer), 200);
  t.match(answer, /fine$/);
  t.match(front.server.received(), 'X-Forwarded-Proto: https\r\n');
  t.match(front.server.received(), 'X-Forwarded-Port: 443\r\n');
});

t.test('big bodies pass both ways unchanged', async (t) => {
  const size = 8 * 2 ** 20;
  const body = 'x'.repeat(size);
  const front = await startTlsFront(t, {}, (_head, socket) => void socket.write(ok(body)));
  const received = await exchange(front.proxy.port, get('/user/anna/big', [front.cookie]));
  t.equal(received.length - received.indexOf('\r\n\r\n') - 4, size);
  const upload = `PUT /user/anna/up HTTP/1.1\r\nHost: hub.example.org\r\nOrigin: https://hub.example.org\r\n${front.cookie}\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n${body}`;
  t.equal(statusOf(await exchange(front.proxy.port, upload)), 200);
  t.ok(front.server.received().endsWith(body));
});

t.test('TLS 1.1 is refused, 1.2 and 1.3 are spoken with forward secrecy', async (t) => {
  const front = await startTlsFront(t);
  const { port } = front.proxy;
  await t.rejects(open(port, { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
  await t.rejects(open(port, { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }), 'no RSA key exchange');
  await t.rejects(open(port, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }), 'no CBC');
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await open(port, { minVersion: version, maxVersion: version });
    t.equal(socket.getProtocol(), version);
    socket.destroy();
  }
  const strict = await startTlsFront(t, { min_version: '1.3' });
  await t.rejects(open(strict.proxy.port, { maxVersion: 'TLSv1.2' }));
});

t.test('renegotiation is refused', async (t) => {
  const front = await startTlsFront(t);
  const socket = await open(front.proxy.port, { maxVersion: 'TLSv1.2' });
  const failed = new Promise<Error | null>((resolve) => {
    socket.on('error', resolve);
    socket.renegotiate({ rejectUnauthorized: false }, resolve);
  });
  t.type(await failed, Error);
});

t.test('a session is taken up again by another worker that has the same key', async (t) => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const [first, second] = [await startTlsFront(t), await startTlsFront(t)];
    const options = { minVersion: version, maxVersion: version };
    const socket = await open(first.proxy.port, options);
    const session = await sessions.get(socket);
    if (session === undefined) throw new Error('no session');
    socket.destroy();
    const again = await open(second.proxy.port, { ...options, session });
    t.ok(again.isSessionReused(), version);
    again.destroy();
    const other = await startTlsFront(t, { ticket_key: tlsSettings(certificate).ticket_key });
    const fresh = await open(other.proxy.port, { ...options, session });
    t.notOk(fresh.isSessionReused(), `${version}: not with another key`);
    fresh.destroy();
  }
});

t.test('the key of sessions is not used longer than a day after it was made, also by a later worker', async (t) => {
  const options = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
  const first = await startTlsFront(t);
  const socket = await open(first.proxy.port, options);
  const session = await sessions.get(socket);
  if (session === undefined) throw new Error('no session');
  socket.destroy();
  const later = await startTlsFront(t, { ticket_key_ms: Date.now() - TICKET_KEY_LIFETIME_MS + 100 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const fresh = await open(later.proxy.port, { ...options, session });
  t.notOk(fresh.isSessionReused());
  fresh.destroy();
  t.equal(ticketKeyLeftMs(1000, 1000 + TICKET_KEY_LIFETIME_MS), 0);
  t.equal(ticketKeyLeftMs(1000, 1000 + 5000), TICKET_KEY_LIFETIME_MS - 5000);
  t.equal(ticketKeyLeftMs(9000, 1000), TICKET_KEY_LIFETIME_MS, 'a clock that was set back');
});

t.test('plain HTTP on the encrypted address gets a page that says so', async (t) => {
  const front = await startTlsFront(t);
  const answer = await ask(front.proxy.port, 'GET /user/anna/', [front.cookie]);
  t.equal(statusOf(answer), 400);
  t.match(answer, 'https://hub.example.org/');
  t.equal(front.server.received(), '');
  const noise = openClient(front.proxy.port, '\x80\x2e\x01\x03');
  t.equal(await noise.closed, '');
});

t.test('P03: a name that is not ours gets 421, in SNI or in Host', async (t) => {
  const front = await startTlsFront(t);
  const { port } = front.proxy;
  const insecure = { rejectUnauthorized: false };
  const path = get('/user/anna/', [front.cookie]);
  t.equal(statusOf(await exchange(port, path, { servername: 'evil.example', ...insecure })), 421);
  t.equal(statusOf(await exchange(port, get('/user/anna/', [front.cookie], 'evil.example'))), 421);
  t.equal(statusOf(await exchange(port, path, { servername: '', ...insecure })), 200, 'a client without SNI');
  t.equal(statusOf(await exchange(port, path, { servername: 'HUB.Example.ORG', ...insecure })), 200);
  t.equal(front.server.received().split(' HTTP/1.1\r\n').length - 1, 2, 'the others reached no server');
});

t.test('HSTS goes out with every answer for the public name, when it is asked for', async (t) => {
  const spoken = ok('fine', ['Strict-Transport-Security: max-age=1']);
  const front = await startTlsFront(t, { hsts_max_age_sec: 3600 }, (_head, socket) => void socket.write(spoken));
  const { port } = front.proxy;
  for (const path of ['/user/anna/x', '/hub/', '/user/anna/.metalhub/nothing']) {
    const answer = await exchange(port, get(path, [front.cookie]));
    t.same(answer.match(/^strict-transport-security: .*$/gim), ['Strict-Transport-Security: max-age=3600'], path);
  }
  const local = await exchange(port, get('/user/anna/x', [front.cookie], 'localhost'));
  t.equal(fieldOf(local, 'strict-transport-security'), undefined, 'localhost is not told');
  const without = await startTlsFront(t, {}, (_head, socket) => void socket.write(spoken));
  const answer = await exchange(without.proxy.port, get('/user/anna/x', [without.cookie]));
  t.equal(fieldOf(answer, 'strict-transport-security'), undefined, 'a user cannot decide for the whole site');
});

t.test('the plain address redirects to the encrypted one, and nowhere else', async (t) => {
  const front = await startTlsFront(t);
  const { worker } = front.proxy;
  const probe = await worker.listen({ host: '127.0.0.1', port: 0 });
  const address = probe.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await new Promise((resolve) => probe.close(resolve));
  const redirecting = await startTlsFront(t, { redirect_addresses: [addressText('127.0.0.1', port)] });
  await redirecting.proxy.worker.listen({ host: '127.0.0.1', port });
  const answer = await ask(port, 'GET /user/anna/lab?a=b', []);
  t.equal(statusOf(answer), 301);
  t.equal(fieldOf(answer, 'location'), 'https://127.0.0.1/user/anna/lab?a=b');
  t.equal(statusOf(await ask(port, 'POST /hub/login', ['Content-Length: 1'], 'x')), 403);
  for (const head of ['GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n', 'GET //evil/ HTTP/1.1\r\nHost: a@b\r\n\r\n']) {
    const refused = await openClient(port, head).closed;
    t.ok([400, 421].includes(statusOf(refused)), refused.slice(0, 40));
    t.equal(fieldOf(refused, 'location'), undefined);
  }
  t.equal(redirecting.hub.received(), '');
});

t.test('P09: a handshake that does not begin or does not end is cut off in time', async (t) => {
  const edge = { tls, header_timeout_ms: 150 };
  const front = await startFront(t, undefined, { ...SECURE, edge });
  const silent = openClient(front.proxy.port);
  const half = openClient(front.proxy.port, '\x16\x03\x01\x02');
  t.equal(await silent.closed, '');
  t.equal(await half.closed, '');
  const socket = await open(front.proxy.port);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => undefined);
  socket.write('GET / HTTP/1.1\r\n');
  await closed;
  while (front.proxy.worker.report().connections > 0) await new Promise((resolve) => setTimeout(resolve, 20));
});

t.test('a visitor who goes away in the middle of a handshake is gone at once, and worth no warning', async (t) => {
  const front = await startTlsFront(t);
  for (let round = 0; round < 5; round++) {
    const socket = await open(front.proxy.port);
    // The last bytes of the handshake are not sent any more.
    socket.destroy();
    const half = openClient(front.proxy.port, '\x16\x03\x01\x02');
    half.socket.end();
    t.equal(await half.closed, '');
  }
  const begin = performance.now();
  while (front.proxy.worker.report().connections > 0) {
    if (performance.now() - begin > 5000) throw new Error('connections are left');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.same(front.proxy.log.lines, []);
});

t.test('draining, a handshake under way is finished and its request answered', async (t) => {
  const front = await startTlsFront(t);
  const socket = await open(front.proxy.port);
  front.proxy.worker.drain(60_000);
  let all = '';
  socket.on('data', (chunk: Buffer) => {
    all += chunk.toString('latin1');
  });
  socket.write(get('/user/anna/x', [front.cookie]).replace('Connection: close\r\n', ''));
  await new Promise((resolve) => socket.once('close', resolve));
  t.equal(statusOf(all), 200);
  t.equal(fieldOf(all, 'connection'), 'close');
  await front.proxy.ended;
});
