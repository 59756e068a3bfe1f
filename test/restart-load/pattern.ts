/** Bytes that differ at every place: blocks of noise, each of which begins with its number. */
const BLOCK_BYTES = 64 * 1024;
const NUMBER_BYTES = 8;

const block = makeNoise();

function makeNoise(): Buffer {
  const noise = Buffer.alloc(BLOCK_BYTES);
  let state = 0x9e3779b9;
  for (let index = 0; index < BLOCK_BYTES; index += 4) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    noise.writeInt32LE(state | 0, index);
  }
  return noise;
}

/** The bytes from `offset` to the end of its block, at most `length`. A copy: the caller may keep it. */
export function patternAt(offset: number, length: number): Buffer {
  const place = offset % BLOCK_BYTES;
  block.writeBigUInt64LE(BigInt(Math.floor(offset / BLOCK_BYTES)), 0);
  return Buffer.from(block.subarray(place, Math.min(BLOCK_BYTES, place + length)));
}

/** @returns where the first block with a wrong byte begins, `undefined` when all bytes are right */
export function findWrong(offset: number, bytes: Buffer): number | undefined {
  for (let done = 0; done < bytes.length; ) {
    const place = (offset + done) % BLOCK_BYTES;
    const length = Math.min(BLOCK_BYTES - place, bytes.length - done);
    if (place < NUMBER_BYTES || done === 0) {
      block.writeBigUInt64LE(BigInt(Math.floor((offset + done) / BLOCK_BYTES)), 0);
    }
    if (bytes.compare(block, place, place + length, done, done + length) !== 0) return offset + done;
    done += length;
  }
  return undefined;
}
