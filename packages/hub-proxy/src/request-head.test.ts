import t from 'tap';
import { isRefusal, parseRequestHead } from './request-head.js';

function statusOf(...lines: string[]): number {
  const parsed = parseRequestHead(lines.join('\r\n'));
  return isRefusal(parsed) ? parsed.status : 200;
}

const GET = 'GET / HTTP/1.1';
const POST = 'POST / HTTP/1.1';
const HOST = 'Host: localhost';

t.test('P01: every ambiguous framing or line is refused', async (t) => {
  const cases: Record<string, string[]> = {
    'length, then coding': [POST, HOST, 'Content-Length: 3', 'Transfer-Encoding: chunked'],
    'coding, then length': [POST, HOST, 'Transfer-Encoding: chunked', 'Content-Length: 3'],
    'the same length twice': [POST, HOST, 'Content-Length: 3', 'Content-Length: 3'],
    'two lengths': [POST, HOST, 'Content-Length: 3', 'Content-Length: 4'],
    'a sign': [POST, HOST, 'Content-Length: +2'],
    'a list': [POST, HOST, 'Content-Length: 2,2'],
    hexadecimal: [POST, HOST, 'Content-Length: 0x2'],
    'an empty length': [POST, HOST, 'Content-Length:'],
    'a length beyond all numbers': [POST, HOST, `Content-Length: ${'9'.repeat(30)}`],
    'a tab at the end': [POST, HOST, 'Transfer-Encoding: chunked\t'],
    'a tab before the value': [POST, HOST, 'Transfer-Encoding:\tchunked'],
    'a folded line': [POST, HOST, 'X: a', ' b'],
    'a blank before the colon': [POST, HOST, 'Content-Length : 2'],
    'a line without colon': [POST, HOST, 'hello'],
    'an empty name': [POST, HOST, ': x'],
    'a bare LF': [POST, HOST, 'X: a\nContent-Length: 2'],
    'a bare CR': [POST, HOST, 'X: a\rb'],
    'a NUL': [POST, HOST, 'X: a\0b'],
    'a control character': [POST, HOST, 'X: a\x01b'],
    'chunked, identity': [POST, HOST, 'Transfer-Encoding: chunked, identity'],
    'identity, chunked': [POST, HOST, 'Transfer-Encoding: identity, chunked'],
    'chunked twice': [POST, HOST, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    xchunked: [POST, HOST, 'Transfer-Encoding: xchunked'],
    'a coding under HTTP/1.0': ['POST / HTTP/1.0', HOST, 'Transfer-Encoding: chunked'],
  };
  for (const [name, lines] of Object.entries(cases)) t.equal(statusOf(...lines), 400, name);
});

t.test('P02: odd request lines are refused', async (t) => {
  t.equal(statusOf('GET /'), 400, 'HTTP/0.9');
  t.equal(statusOf('GET / HTTP/1.2', HOST), 505);
  t.equal(statusOf('GET / HTTP/2.0', HOST), 505);
  t.equal(statusOf('OPTIONS * HTTP/1.1', HOST), 400);
  t.equal(statusOf('CONNECT / HTTP/1.1', HOST), 405);
  t.equal(statusOf('CONNECT example.org:443 HTTP/1.1', HOST), 405);
  t.equal(statusOf('TRACE / HTTP/1.1', HOST), 405);
  t.equal(statusOf('get / HTTP/1.1', HOST), 400);
  t.equal(statusOf(`${'A'.repeat(9 * 1024)} / HTTP/1.1`, HOST), 400);
  t.equal(statusOf('GET  / HTTP/1.1', HOST), 400);
  t.equal(statusOf('GET / HTTP/1.1 ', HOST), 400);
  t.equal(statusOf(' GET / HTTP/1.1', HOST), 400);
  t.equal(statusOf('GET / http/1.1', HOST), 400);
});

t.test('P03: exactly one valid Host', async (t) => {
  t.equal(statusOf(GET), 400, 'none');
  for (const host of ['', 'a@b', 'a/b?c', '[::1', '::1', 'a b', 'a..b', 'a:0', 'a:99999', 'a:', '-a', 'a%62']) {
    t.equal(statusOf(GET, `Host: ${host}`), 400, JSON.stringify(host));
  }
  t.equal(statusOf(GET, HOST, HOST), 400, 'two');
  for (const target of ['http://localhost/', 'http://evil/', 'file:///etc/passwd', 'http://169.254.169.254/']) {
    t.equal(statusOf(`GET ${target} HTTP/1.1`, HOST), 400, target);
  }
});

t.test('P03: the forms of one host become one', async (t) => {
  for (const host of ['Hub.Example.ORG', 'hub.example.org.', 'hub.example.org']) {
    const head = parseRequestHead(`${GET}\r\nHost: ${host}`);
    t.same(isRefusal(head) ? undefined : head.host, { name: 'hub.example.org', port: undefined });
  }
  const head = parseRequestHead(`${GET}\r\nHost: [::1]:8000`);
  t.same(isRefusal(head) ? undefined : head.host, { name: '[::1]', port: 8000 });
});

t.test('P06: only a bare GET may ask for a WebSocket', async (t) => {
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket'];
  t.equal(statusOf(GET, HOST, ...upgrade), 200);
  t.equal(statusOf(GET, HOST, 'Connection: Upgrade', 'Upgrade: h2c'), 400);
  t.equal(statusOf(GET, HOST, 'Connection: Upgrade', 'Upgrade: websocket, h2c'), 400);
  t.equal(statusOf(GET, HOST, 'Connection: Upgrade', 'Upgrade: websocket', 'Upgrade: h2c'), 400);
  t.equal(statusOf(GET, HOST, 'Upgrade: websocket'), 400, 'not named in Connection');
  t.equal(statusOf(GET, HOST, 'Connection: Upgrade'), 400, 'to nothing');
  t.equal(statusOf(POST, HOST, ...upgrade), 400);
  t.equal(statusOf(GET, HOST, ...upgrade, 'Content-Length: 0'), 400);
  t.equal(statusOf(GET, HOST, ...upgrade, 'Content-Length: 5'), 400);
  t.equal(statusOf(GET, HOST, ...upgrade, 'Transfer-Encoding: chunked'), 400);
  t.equal(statusOf('GET / HTTP/1.0', HOST, ...upgrade), 400);
});

t.test('Connection cannot take a field away that says who is asking', async (t) => {
  for (const name of [
    'Cookie',
    'Authorization',
    'X-Forwarded-For',
    'x_forwarded_for',
    'Host',
    'Origin',
    'Sec-Fetch-Site',
  ]) {
    t.equal(statusOf(GET, HOST, `Connection: close, ${name}`), 400, name);
  }
  t.equal(statusOf(GET, HOST, 'Connection: keep-alive, Foo', 'Foo: bar'), 200);
});

t.test('counts and sizes have bounds', async (t) => {
  const fields = (count: number) => Array.from({ length: count }, (_, index) => `X-${index}: y`);
  t.equal(statusOf(GET, HOST, ...fields(99)), 200);
  t.equal(statusOf(GET, HOST, ...fields(100)), 431);
  t.equal(statusOf(GET, HOST, 'Expect: 200-maybe'), 417);
});

t.test('what is understood is right', async (t) => {
  const head = parseRequestHead([POST, 'hOST: LocalHost:8000', 'Content-Length: 12', 'X:  a b  '].join('\r\n'));
  if (isRefusal(head)) throw new Error(head.reason);
  t.match(head, { method: 'POST', path: '/', query: '', version: '1.1', keepAlive: true, isUpgrade: false });
  t.same(head.framing, { kind: 'length', length: 12 });
  t.equal(head.fields[2]?.value, 'a b');
});
