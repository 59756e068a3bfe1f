import t from 'tap';
import { parseResponseHead } from './response-head.js';

function framingOf(lines: readonly string[], method = 'GET'): unknown {
  const head = parseResponseHead(lines.join('\r\n'), method);
  return typeof head === 'string' ? head : head.framing;
}

t.test('P14: an answer with two framings, or none that is known, is not trusted', async (t) => {
  const bad = [
    ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked'],
    ['HTTP/1.1 200 OK', 'Content-Length: 3', 'Content-Length: 3'],
    ['HTTP/1.1 200 OK', 'Content-Length: 3, 3'],
    ['HTTP/1.1 200 OK', 'Content-Length: -1'],
    ['HTTP/1.1 200 OK', 'Transfer-Encoding: gzip, chunked'],
    ['HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'],
    ['HTTP/1.1 200 OK', 'X: a', ' b'],
    ['HTTP/1.1 200 OK', 'X : a'],
    ['HTTP/1.1 20 OK'],
    ['HTTP/1.1 099 OK'],
    ['HTTP/2 200 OK'],
    ['ICY 200 OK'],
    ['HTTP/1.1 200 OK', 'X: a\nSet-Cookie: b=c'],
    ['HTTP/1.1 200 OK', ...Array.from({ length: 300 }, () => 'X: y')],
  ];
  for (const lines of bad) t.type(framingOf(lines), 'string', lines.slice(0, 3).join(' | '));
});

t.test('the end of an answer follows from its method, status and fields', async (t) => {
  const length = ['HTTP/1.1 200 OK', 'Content-Length: 3'];
  t.same(framingOf(length), { kind: 'length', length: 3 });
  t.same(framingOf(length, 'HEAD'), { kind: 'none' });
  t.same(framingOf(['HTTP/1.1 204 No Content']), { kind: 'none' });
  t.same(framingOf(['HTTP/1.1 304 Not Modified', 'Content-Length: 10']), { kind: 'none' });
  t.same(framingOf(['HTTP/1.1 100 Continue']), { kind: 'none' });
  t.same(framingOf(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked']), { kind: 'chunked' });
  t.same(framingOf(['HTTP/1.1 200']), { kind: 'close' });
});
