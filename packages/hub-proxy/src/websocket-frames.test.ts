import t from 'tap';
import { closeFrame, FrameBoundary } from './websocket-frames.js';

function frame(length: number, masked: boolean): Buffer {
  const maskBit = masked ? 0x80 : 0;
  const extended = length > 65_535 ? 8 : length > 125 ? 2 : 0;
  const head = Buffer.alloc(2 + extended + (masked ? 4 : 0));
  head[0] = 0x82;
  head[1] = maskBit | (extended === 8 ? 127 : extended === 2 ? 126 : length);
  if (extended === 2) head.writeUInt16BE(length, 2);
  if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, Buffer.alloc(length, 0x55)]);
}

t.test('boundaries are found in frames of all sizes, wherever the pieces are cut', async (t) => {
  for (const masked of [false, true]) {
    const frames = [0, 1, 125, 126, 65_535, 65_536].map((length) => frame(length, masked));
    for (const size of [1, 3, 1000, 200_000]) {
      for (const one of frames) {
        const boundary = new FrameBoundary();
        for (let at = 0; at < one.length; at += size) {
          if (at > 0 && boundary.isAtBoundary) t.fail('a boundary inside a frame');
          boundary.push(one.subarray(at, at + size));
        }
        t.ok(boundary.isAtBoundary, `${one.length} bytes in pieces of ${size}`);
      }
    }
  }
});

t.test('a frame that has begun is finished, nothing of the next is taken', async (t) => {
  const boundary = new FrameBoundary();
  const bytes = Buffer.concat([frame(10, false), frame(20, false)]);
  boundary.push(bytes.subarray(0, 5));
  t.equal(boundary.takeUntilBoundary(bytes.subarray(5)).length, 7);
  t.ok(boundary.isAtBoundary);
  t.equal(boundary.takeUntilBoundary(bytes.subarray(12)).length, 0);
});

t.test('the close frame is unmasked and carries the code', async (t) => {
  t.same([...closeFrame(1001)], [0x88, 2, 3, 0xe9]);
});
