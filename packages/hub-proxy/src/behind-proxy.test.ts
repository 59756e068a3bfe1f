import t from 'tap';
import type { EdgeSettings } from './edge-settings.js';
import { type Front, startFront } from './testing/front.js';
import { ask, exchangeBytes, statusOf } from './testing/proxy.js';

/** Tests come from 127.0.0.1: a web server in front of the proxy on the same machine does, too. */
function startBehind(t: { teardown(end: () => Promise<void>): void }, edge: EdgeSettings): Promise<Front> {
  const settings = { is_secure: true, public_origin: 'https://hub.example.org', edge };
  return startFront(t, undefined, settings);
}

const SPOOFED = [
  'X-Forwarded-For: 203.0.113.9',
  'X-Forwarded-For: 203.0.113.8',
  'x_forwarded_for: 203.0.113.7',
  'Forwarded: for=203.0.113.6;proto=https;host=evil.example',
  'X-Real-IP: 203.0.113.5',
  'X-Forwarded-Proto: https',
  'X-Scheme: https',
  'X-Forwarded-Host: evil.example',
  'X-Forwarded-Port: 1',
];

t.test('P05: what a visitor says of themselves reaches no server, and counts for nothing', async (t) => {
  const front = await startBehind(t, { trusted_proxies: ['192.0.2.0/24'] });
  const answer = await ask(front.proxy.port, 'GET /user/anna/x', [front.cookie, ...SPOOFED]);
  t.equal(statusOf(answer), 200);
  const received = front.server.received();
  t.notMatch(received, /203\.0\.113|evil/);
  t.match(received, 'X-Forwarded-For: 127.0.0.1\r\n');
  t.match(received, 'X-Forwarded-Proto: http\r\n');
});

t.test('P05: a trusted server in front is believed, its visitor is not', async (t) => {
  const front = await startBehind(t, { trusted_proxies: ['127.0.0.1'] });
  const said = ['X-Forwarded-For: 203.0.113.9, 198.51.100.7', 'X-Forwarded-Proto: https'];
  const answer = await ask(front.proxy.port, 'GET /user/anna/x', [
    front.cookie,
    ...said,
    'X-Forwarded-Host: HUB.example.org',
    'Forwarded: for=203.0.113.6',
  ]);
  t.equal(statusOf(answer), 200);
  const received = front.server.received();
  t.match(received, 'X-Forwarded-For: 198.51.100.7\r\n');
  t.match(received, 'X-Real-IP: 198.51.100.7\r\n');
  t.match(received, 'X-Forwarded-Proto: https\r\n');
  t.match(received, '\r\nHost: hub.example.org\r\n');
  t.notMatch(received, '203.0.113');
  const other = await ask(front.proxy.port, 'GET /user/anna/x', [front.cookie, 'X-Forwarded-Host: evil.example']);
  t.equal(statusOf(other), 421);
  const broken = await ask(front.proxy.port, 'GET /user/anna/x', [front.cookie, 'X-Forwarded-Host: a@b']);
  t.equal(statusOf(broken), 400);
});

t.test(
  'the page that a WebSocket or a form comes from is compared with the address that the visitor typed',
  async (t) => {
    const front = await startBehind(t, { trusted_proxies: ['127.0.0.1'] });
    const fields = [front.cookie, 'Content-Length: 0', 'X-Forwarded-Host: 127.0.0.1:8443', 'X-Forwarded-Proto: https'];
    const own = await ask(front.proxy.port, 'POST /user/anna/x', [...fields, 'Origin: https://127.0.0.1:8443']);
    t.equal(statusOf(own), 200);
    const foreign = await ask(front.proxy.port, 'POST /user/anna/x', [...fields, 'Origin: http://127.0.0.1:8443']);
    t.equal(statusOf(foreign), 403);
  },
);

t.test('logins are counted by the visitor, not by the server in front', async (t) => {
  const front = await startBehind(t, { trusted_proxies: ['127.0.0.1'], login_attempts_per_minute: 1 });
  const logIn = (address: string, path = '/hub/login'): Promise<string> =>
    ask(front.proxy.port, `POST ${path}`, [`X-Forwarded-For: ${address}`, 'Content-Length: 3'], 'a=b');
  for (const expected of [200, 200, 429, 429]) t.equal(statusOf(await logIn('198.51.100.1')), expected);
  t.equal(statusOf(await logIn('198.51.100.2')), 200);
  for (const path of ['/hub/%6Cogin', '/%68ub/login?next=%2F']) {
    t.equal(statusOf(await logIn('198.51.100.1', path)), 429, `the hub reads ${path} in the same way`);
  }
  t.equal(statusOf(await ask(front.proxy.port, 'GET /hub/login', ['X-Forwarded-For: 198.51.100.1'])), 200);
});

t.test('size and number of header fields are limited as configured', async (t) => {
  const front = await startBehind(t, { header_bytes: 5000, header_fields: 40 });
  const many = Array.from({ length: 50 }, (_, index) => `X-${index}: a`);
  t.equal(statusOf(await ask(front.proxy.port, 'GET /user/anna/x', [front.cookie, ...many])), 431);
  const big = `X-Big: ${'a'.repeat(5000)}`;
  t.equal(statusOf(await ask(front.proxy.port, 'GET /user/anna/x', [front.cookie, big])), 431);
  const endless = `GET /user/anna/x HTTP/1.1\r\nX-Big: ${'a'.repeat(6000)}`;
  t.equal(statusOf(await exchangeBytes(front.proxy.port, endless)), 431);
  t.equal(front.server.received(), '');
});
