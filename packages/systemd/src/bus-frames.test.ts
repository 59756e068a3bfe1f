import t from 'tap';
import { encodeMessage } from './bus-codec.js';
import { createFrameReader } from './bus-frames.js';

function message(serial: number, text: string): Buffer {
  return encodeMessage({ type: 4, serial, path: '/a', interface: 'a.b', member: 'C', signature: 's', body: [text] })
    .bytes;
}

t.test('createFrameReader', (t) => {
  t.test('cuts lines and messages however they arrive', (t) => {
    const stream = Buffer.concat([Buffer.from('OK 12\r\n'), message(1, 'x'), message(2, 'y'.repeat(500))]);
    for (const step of [1, 7, 16, 17, stream.length]) {
      const reader = createFrameReader();
      let line: string | undefined;
      const sizes: number[] = [];
      for (let at = 0; at < stream.length; at += step) {
        reader.push(stream.subarray(at, at + step));
        line ??= reader.readLine();
        if (line === undefined) continue;
        for (let frame = reader.readMessage(); frame !== undefined; frame = reader.readMessage())
          sizes.push(frame.length);
      }
      t.equal(line, 'OK 12');
      t.same(sizes, [message(1, 'x').length, message(2, 'y'.repeat(500)).length]);
    }
    t.end();
  });
  t.test('drops a message that is too large, without keeping it', (t) => {
    const reader = createFrameReader();
    const huge = message(1, 'x'.repeat(17 << 20));
    for (let at = 0; at < huge.length; at += 65_536) {
      reader.push(huge.subarray(at, at + 65_536));
      t.equal(reader.readMessage(), undefined);
    }
    const next = message(2, 'y');
    reader.push(next);
    t.same(reader.readMessage(), next);
    t.end();
  });
  t.test('refuses an endless line', (t) => {
    const reader = createFrameReader();
    reader.push(Buffer.alloc(5000, 'x'));
    t.throws(() => reader.readLine());
    t.end();
  });
  t.end();
});
