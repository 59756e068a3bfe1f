import t from 'tap';
import { encodeFrame, FrameDecoder } from './frame.js';

t.test('messages survive any cut of the stream', async (t) => {
  const messages = [{ a: 1 }, { text: 'Jürgen 😀' }, [], 'x'.repeat(1000)];
  const stream = Buffer.concat(messages.map(encodeFrame));
  for (const step of [1, 2, 3, 7, 64, stream.length]) {
    const decoder = new FrameDecoder(2048);
    const received: unknown[] = [];
    for (let at = 0; at < stream.length; at += step) received.push(...decoder.push(stream.subarray(at, at + step)));
    t.strictSame(received, messages, `in pieces of ${step}`);
    t.notOk(decoder.isIncomplete);
  }
});

t.test('M01: a length above the limit is refused before the body arrives', async (t) => {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(10_000_000);
  t.throws(() => new FrameDecoder(1024).push(head), { code: 'MH_ERR_WIRE_TOO_LARGE' });
});

t.test('M01: what is not JSON in UTF-8 is refused', async (t) => {
  for (const body of [Buffer.from([0xc3, 0x28]), Buffer.from('{"a":'), Buffer.alloc(0), Buffer.from([0xff, 0xfe])]) {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(body.length);
    t.throws(() => new FrameDecoder(1024).push(Buffer.concat([head, body])), { code: 'MH_ERR_WIRE_MALFORMED' });
  }
});
