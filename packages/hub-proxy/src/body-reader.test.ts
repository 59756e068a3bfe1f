import t from 'tap';
import { type BodyOptions, createBodyReader, type Framing } from './body-reader.js';
import { ChunkDecoder } from './chunk-decoder.js';

const CHUNKED: Framing = { kind: 'chunked' };

/** Feeds the text in pieces of one size. */
function read(framing: Framing, text: string, pieceBytes: number, options: BodyOptions = {}) {
  const reader = createBodyReader(framing, options);
  const bytes = Buffer.from(text, 'latin1');
  let out = '';
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const part = reader.push(bytes.subarray(at, at + pieceBytes));
    if (part.error !== undefined) return { error: part.error, out };
    out += Buffer.concat(part.out).toString('latin1');
    if (reader.done) {
      const rest = (part.rest?.toString('latin1') ?? '') + bytes.subarray(at + pieceBytes).toString('latin1');
      return { out, rest, done: true };
    }
  }
  return { out, done: reader.done };
}

t.test('a length ends where it says, wherever the pieces are cut', async (t) => {
  for (const size of [1, 2, 3, 100]) {
    t.same(read({ kind: 'length', length: 5 }, 'helloGET /', size), { out: 'hello', rest: 'GET /', done: true });
  }
  t.equal(createBodyReader({ kind: 'none' }).done, true);
});

t.test('chunks pass byte for byte, wherever the pieces are cut', async (t) => {
  const body = '5\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n';
  for (let size = 1; size <= body.length; size++) {
    t.same(read(CHUNKED, `${body}GET /`, size), { out: body, rest: 'GET /', done: true });
  }
});

t.test('without the chunk lines only the content is left', async (t) => {
  for (const size of [1, 4, 100]) {
    t.equal(read(CHUNKED, '5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n', size, { payloadOnly: true }).out, 'hello!');
  }
});

t.test('P01: chunks that another reader could take differently are errors', async (t) => {
  const bad = {
    'LF-only size line': '5\nhello\r\n0\r\n\r\n',
    'LF after the data': '5\r\nhello\n0\r\n\r\n',
    'LF-only end': '0\r\n\n',
    'an extension': '5;x=y\r\nhello\r\n0\r\n\r\n',
    'a blank': '5 \r\nhello\r\n0\r\n\r\n',
    'a sign': '+5\r\nhello\r\n0\r\n\r\n',
    'a prefix': '0x5\r\nhello\r\n0\r\n\r\n',
    'an empty size': '\r\nhello\r\n0\r\n\r\n',
    'a negative size': '-1\r\n\r\n',
    'too many digits': '00000000000000000005\r\nhello\r\n0\r\n\r\n',
    'more data than announced': '5\r\nhello!\r\n0\r\n\r\n',
    'a length in the trailer': '0\r\nContent-Length: 3\r\n\r\n',
    'a coding in the trailer': '0\r\nTransfer-Encoding: chunked\r\n\r\n',
    'an underscore for a dash': '0\r\nX_Forwarded_For: 1\r\n\r\n',
    'a folded trailer': '0\r\nX: a\r\n b\r\n\r\n',
    'an endless trailer': `0\r\n${'X: yyyyyyyyyy\r\n'.repeat(1000)}\r\n`,
  };
  for (const [name, body] of Object.entries(bad)) {
    for (const size of [1, 7, 10_000]) t.ok(read(CHUNKED, body, size).error, `${name}, in pieces of ${size}`);
  }
});

t.test('P11: chunks of one byte do not come out one by one', async (t) => {
  const text = Buffer.from(`${'1\r\nx\r\n'.repeat(10_000)}0\r\n\r\n`);
  const { out } = createBodyReader({ kind: 'chunked' }, { payloadOnly: true }).push(text);
  t.equal(out.length, 1);
  t.equal(Buffer.concat(out).toString(), 'x'.repeat(10_000));
  const { payload, trailers } = new ChunkDecoder().push(text);
  t.equal(payload.length, 1);
  t.equal(Buffer.concat(payload).toString(), 'x'.repeat(10_000));
  t.same(trailers, []);
});
