import { MetalhubError } from '@metalhub/base/errors.js';

/** Bytes before each message: its length as an unsigned 32-bit big-endian number. */
export const HEADER_BYTES = 4;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** One message as it goes over the socket. */
export function encodeFrame(message: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(message), 'utf8');
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, HEADER_BYTES);
  return frame;
}

/** Turns the bytes of one connection into messages. After an error the connection must be closed: it never resyncs. */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #bytes = 0;
  readonly #maxBytes: number;

  /** @param maxBytes largest body accepted; a longer announced length is refused before it is read */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** True when the connection ended in the middle of a message. */
  get isIncomplete(): boolean {
    return this.#bytes > 0;
  }

  /**
   * Adds received bytes and returns the messages they complete.
   * @throws {MH_ERR_WIRE_TOO_LARGE} {MH_ERR_WIRE_MALFORMED}
   */
  push(chunk: Buffer): unknown[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const messages: unknown[] = [];
    while (this.#bytes >= HEADER_BYTES) {
      const head = this.#join();
      const size = head.readUInt32BE(0);
      if (size > this.#maxBytes) {
        throw new MetalhubError('MH_ERR_WIRE_TOO_LARGE', { details: { size, limit: this.#maxBytes } });
      }
      if (this.#bytes < HEADER_BYTES + size) break;
      messages.push(parseBody(head.subarray(HEADER_BYTES, HEADER_BYTES + size)));
      const rest = head.subarray(HEADER_BYTES + size);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#bytes = rest.length;
    }
    return messages;
  }

  #join(): Buffer {
    const [first] = this.#chunks;
    if (this.#chunks.length === 1 && first !== undefined) return first;
    const joined = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [joined];
    return joined;
  }
}

function parseBody(body: Buffer): unknown {
  try {
    return JSON.parse(decoder.decode(body));
  } catch (cause) {
    throw new MetalhubError('MH_ERR_WIRE_MALFORMED', { details: { reason: 'not JSON in UTF-8' }, cause });
  }
}
