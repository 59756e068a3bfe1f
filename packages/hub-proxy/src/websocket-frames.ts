import type { Buffer } from 'node:buffer';

/** Close frame from a server, unmasked. @see RFC 6455 section 5.5.1 */
export function closeFrame(code: number): Uint8Array {
  return Uint8Array.of(0x88, 0x02, code >> 8, code & 0xff);
}

export const GOING_AWAY = 1001;
export const POLICY_VIOLATION = 1008;

/**
 * Follows where frames end in one direction of a WebSocket, so that a frame of our own can be put between two of them.
 * Looks at headers only; whether the frames make sense is between the two ends.
 */
export class FrameBoundary {
  #header = new Uint8Array(14);
  #headerBytes = 0;
  #payloadLeft = 0;

  /** True when the bytes seen so far end with a complete frame. */
  get isAtBoundary(): boolean {
    return this.#headerBytes === 0 && this.#payloadLeft === 0;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) at = this.#wholeFrame(chunk, at) ?? this.#step(chunk, at);
  }

  /** Behind a short frame that lies whole in the chunk, as most do; `undefined` when none begins here. */
  #wholeFrame(chunk: Buffer, at: number): number | undefined {
    const second = chunk[at + 1];
    if (!this.isAtBoundary || second === undefined) return undefined;
    const length = second & 0x7f;
    const end = at + 2 + (second & 0x80 ? 4 : 0) + length;
    return length < 126 && end <= chunk.length ? end : undefined;
  }

  /** Bytes of the chunk up to the next boundary; all of them when it holds none. The rest must not be sent. */
  takeUntilBoundary(chunk: Buffer): Buffer {
    let at = 0;
    while (at < chunk.length && !this.isAtBoundary) at = this.#step(chunk, at);
    return chunk.subarray(0, at);
  }

  #step(chunk: Buffer, at: number): number {
    if (this.#payloadLeft > 0) {
      const taken = Math.min(this.#payloadLeft, chunk.length - at);
      this.#payloadLeft -= taken;
      return at + taken;
    }
    this.#header[this.#headerBytes++] = chunk[at] ?? 0;
    const second = this.#header[1] ?? 0;
    const lengthBytes = (second & 0x7f) === 127 ? 8 : (second & 0x7f) === 126 ? 2 : 0;
    const wanted = this.#headerBytes < 2 ? 2 : 2 + lengthBytes + (second & 0x80 ? 4 : 0);
    if (this.#headerBytes >= 2 && this.#headerBytes === wanted) {
      this.#payloadLeft = lengthBytes === 0 ? second & 0x7f : this.#longLength(lengthBytes);
      this.#headerBytes = 0;
    }
    return at + 1;
  }

  #longLength(bytes: number): number {
    let length = 0;
    for (let index = 2; index < 2 + bytes; index++) length = length * 256 + (this.#header[index] ?? 0);
    return length;
  }
}
