import { messageBytes } from './bus-codec.js';

const HEADER_BYTES = 16;
// ListUnits of 10,000 units is about 3 MB. D-Bus allows 128 MiB, which any local account may send to our bus name.
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const MAX_LINE_BYTES = 1024;

/** Cuts a byte stream into the lines of the authentication and then into messages. */
export interface FrameReader {
  push(chunk: Buffer): void;
  /** One line without its CR LF, `undefined` until it is complete. Throws when it is longer than 1 KiB. */
  readLine(): string | undefined;
  /** One message, `undefined` until it is complete. A message that is too large is dropped unread. */
  readMessage(): Buffer | undefined;
}

export function createFrameReader(): FrameReader {
  let chunks: Buffer[] = [];
  let available = 0;
  let toSkip = 0;

  function peek(bytes: number): Buffer | undefined {
    if (available < bytes) return undefined;
    if ((chunks[0]?.length ?? 0) < bytes) chunks = [Buffer.concat(chunks)];
    return chunks[0]?.subarray(0, bytes);
  }

  function consume(bytes: number): void {
    const [first, ...rest] = chunks;
    if (first === undefined) return;
    chunks = first.length > bytes ? [first.subarray(bytes), ...rest] : rest;
    available -= Math.min(bytes, first.length);
  }

  function skip(): void {
    while (toSkip > 0 && available > 0) {
      const bytes = Math.min(toSkip, chunks[0]?.length ?? 0);
      consume(bytes);
      toSkip -= bytes;
    }
  }

  return {
    push(chunk) {
      chunks.push(chunk);
      available += chunk.length;
      skip();
    },
    readLine() {
      const text = peek(Math.min(available, MAX_LINE_BYTES))?.toString('latin1') ?? '';
      const end = text.indexOf('\r\n');
      if (end < 0 && text.length === MAX_LINE_BYTES) throw new Error('the bus sent an endless line');
      if (end < 0) return undefined;
      consume(end + 2);
      return text.slice(0, end);
    },
    readMessage() {
      for (;;) {
        const header = peek(HEADER_BYTES);
        if (header === undefined) return undefined;
        const bytes = messageBytes(header);
        if (bytes <= MAX_MESSAGE_BYTES) {
          const message = peek(bytes);
          if (message !== undefined) consume(bytes);
          return message;
        }
        toSkip = bytes;
        skip();
      }
    },
  };
}
