import t from 'tap';
import { http1Request } from './http2-request-head.js';

const BASE = [':method', 'GET', ':scheme', 'https', ':path', '/hub/', ':authority', 'hub.example.org'];

function headOf(raw: readonly string[], hasBody = false): string {
  const request = http1Request(raw, hasBody);
  return typeof request === 'string' ? `refused: ${request}` : request.head;
}

t.test('a request becomes a head of HTTP/1.1 with the same meaning', async (t) => {
  const raw = [...BASE, 'accept', '*/*', 'cookie', 'a=1', 'cookie', 'b=2', 'te', 'trailers'];
  t.equal(
    headOf(raw),
    'GET /hub/ HTTP/1.1\r\nhost: hub.example.org\r\naccept: */*\r\ncookie: a=1; b=2\r\nconnection: close\r\n\r\n',
  );
  t.match(headOf([':method', 'PUT', ...BASE.slice(2)], true), 'transfer-encoding: chunked\r\n');
  const sized = headOf([':method', 'PUT', ...BASE.slice(2), 'content-length', '5'], true);
  t.match(sized, 'content-length: 5\r\n');
  t.notMatch(sized, 'transfer-encoding');
  t.match(headOf([...BASE, 'host', 'HUB.example.org']), 'host: hub.example.org\r\n');
  t.match(headOf([...BASE.slice(0, 6), 'host', 'hub.example.org']), 'host: hub.example.org\r\n');
});

t.test('P01: whatever could smuggle a second request or another framing is refused', async (t) => {
  const added: readonly (readonly string[])[] = [
    ['x-a', 'b\r\nx-c: d'],
    ['x-a', 'b\nx-c: d'],
    ['x-a', 'b\0'],
    ['x-a: b\r\nx-c', 'd'],
    ['x-a ', 'b'],
    ['X-A', 'b'],
    ['', 'b'],
    ['transfer-encoding', 'chunked'],
    ['connection', 'close'],
    ['keep-alive', 'x'],
    ['proxy-connection', 'x'],
    ['upgrade', 'websocket'],
    ['te', 'chunked'],
    ['host', 'other.example'],
    ['content-length', '+2'],
    ['content-length', '2,2'],
    ['content-length', '5'],
    [':authority', 'hub.example.org'],
    [':protocol', 'websocket'],
    ['accept', '*/*', ':path', '/user/bob/'],
  ];
  for (const fields of added) t.match(headOf([...BASE, ...fields]), /^refused: /, JSON.stringify(fields));
  t.match(headOf([...BASE, 'content-length', '1', 'content-length', '1'], true), /^refused: /);
});

t.test('P02: pseudo-fields that are missing or cannot stand in a request line are refused', async (t) => {
  for (const [name, value] of [
    [':path', '/a b'],
    [':path', '/a\r\nHost: x'],
    [':path', ''],
    [':path', '/\u00e4'],
    [':method', 'get'],
    [':method', 'G T'],
    [':method', ''],
    [':scheme', 'http'],
    [':authority', ''],
    [':authority', 'a\r\nb'],
  ]) {
    const raw = [...BASE];
    raw[raw.indexOf(name ?? '') + 1] = value ?? '';
    t.match(headOf(raw), /^refused: /, `${name} ${JSON.stringify(value)}`);
  }
  for (let index = 0; index < BASE.length; index += 2) {
    t.match(headOf(BASE.toSpliced(index, 2)), /^refused: /, `without ${BASE[index]}`);
  }
});
