/** Just enough of RFC 6455 for both ends of a test: unfragmented binary messages and close frames. */
export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export const BINARY = 2;
export const CLOSE = 8;

/** @param isMasked as a client must send it; with a mask of zeros, so the bytes stay as they are */
export function encodeFrame(payload: Buffer, isMasked: boolean): Buffer {
  const mark = isMasked ? 0x80 : 0;
  const mask = Buffer.alloc(isMasked ? 4 : 0);
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10);
  head[0] = 0x80 | BINARY;
  if (head.length === 2) head[1] = mark | payload.length;
  else if (head.length === 4) {
    head[1] = mark | 126;
    head.writeUInt16BE(payload.length, 2);
  } else {
    head[1] = mark | 127;
    head.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  return Buffer.concat([head, mask, payload]);
}

export class FrameReader {
  #bytes: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const frames: Frame[] = [];
    for (let frame = this.#take(); frame !== undefined; frame = this.#take()) frames.push(frame);
    return frames;
  }

  #take(): Frame | undefined {
    const bytes = this.#bytes;
    if (bytes.length < 2) return undefined;
    const second = bytes[1] ?? 0;
    let at = 2;
    let length = second & 0x7f;
    if (length === 126) {
      if (bytes.length < 4) return undefined;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return undefined;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    if ((second & 0x80) !== 0) at += 4; // always zeros here
    if (bytes.length < at + length) return undefined;
    this.#bytes = bytes.subarray(at + length);
    return { opcode: (bytes[0] ?? 0) & 0x0f, payload: bytes.subarray(at, at + length) };
  }
}
