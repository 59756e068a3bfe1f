import { createHash, type Hash } from 'node:crypto';
import type { Socket } from 'node:net';

/** Numbered blocks, so that a lost, doubled or swapped piece changes the checksum. */
export const BLOCK_BYTES = 256 * 1024;

/** Writes blocks until all are out, as fast as the other side takes them; resolves with the checksum. */
export async function writeBlocks(socket: Socket, size: number, onWritten?: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha1');
  const block = Buffer.alloc(BLOCK_BYTES, 0x5a);
  for (let written = 0; written < size && socket.writable; ) {
    const piece = block.subarray(0, Math.min(BLOCK_BYTES, size - written));
    // Buffers are given to the kernel later: each needs its own bytes.
    const own = Buffer.from(piece);
    own.writeDoubleBE(written, 0);
    hash.update(own);
    written += own.length;
    onWritten?.(written);
    if (!socket.write(own)) await drained(socket);
  }
  return hash.digest('hex');
}

/** Resolves when a socket takes more, or is gone. */
export function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      socket.off('drain', go).off('close', go);
      resolve();
    };
    socket.on('drain', go).on('close', go);
  });
}

/** Follows a body of known length; resolves with its checksum. */
export class BodySum {
  readonly #hash: Hash = createHash('sha1');
  readonly #size: number;
  #left: number;
  readonly done: Promise<string>;
  #finish: (sum: string) => void = () => undefined;

  constructor(size: number) {
    this.#size = size;
    this.#left = size;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  get bytes(): number {
    return this.#size - this.#left;
  }

  push(chunk: Buffer): void {
    if (this.#left <= 0) return;
    const piece = chunk.subarray(0, this.#left);
    this.#hash.update(piece);
    this.#left -= piece.length;
    if (this.#left === 0) this.#finish(this.#hash.digest('hex'));
  }
}

/** Reads an answer's head; what follows goes to `onBody`. */
export function readAnswer(socket: Socket, onBody: (chunk: Buffer) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    let received: Buffer | undefined = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      if (received === undefined) return onBody(chunk);
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return;
      const head = received.toString('latin1', 0, end);
      const rest = received.subarray(end + 4);
      received = undefined;
      resolve(head);
      if (rest.length > 0) onBody(rest);
    });
    socket.once('close', () => reject(new Error('closed before an answer')));
  });
}
