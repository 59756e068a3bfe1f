import { foldedName, parseHeaderField } from './header-fields.js';
import { joined } from './joined.js';

/** How long a message's body is. `close`: until the connection ends, answers only. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

/** What one piece of input came to. */
export interface BodyPart {
  /** Checked bytes to pass on. */
  readonly out: Buffer[];
  /** What follows the body, once it is complete. */
  readonly rest: Buffer | undefined;
  /** Constant text; the message can no longer be trusted. */
  readonly error: string | undefined;
}

/** Follows a body so that it is known where it ends. */
export interface BodyReader {
  readonly done: boolean;
  push(input: Buffer): BodyPart;
}

export interface BodyOptions {
  /** Leaves the chunk lines out, for a receiver that knows no chunks. */
  readonly payloadOnly?: boolean;
}

const MAX_SIZE_LINE = 18;
const MAX_TRAILER_BYTES = 8 * 1024;
// In a trailer these would be taken for what the head did not say.
const NOT_IN_TRAILERS =
  /^(?:host|cookie|set-cookie|authorization|content-.*|transfer-encoding|connection|upgrade|te|trailer|expect|forwarded|x-forwarded.*|x-real-ip|x-scheme|x-metalhub-.*|origin|sec-.*)$/;

export function createBodyReader(framing: Framing, options: BodyOptions = {}): BodyReader {
  switch (framing.kind) {
    case 'none':
      return new LengthReader(0);
    case 'length':
      return new LengthReader(framing.length);
    case 'chunked':
      return new ChunkedReader(options.payloadOnly ?? false);
    case 'close':
      return new LengthReader(Number.POSITIVE_INFINITY);
  }
}

class LengthReader implements BodyReader {
  #left: number;

  constructor(length: number) {
    this.#left = length;
  }

  get done(): boolean {
    return this.#left === 0;
  }

  push(input: Buffer): BodyPart {
    const taken = Math.min(input.length, this.#left);
    this.#left -= taken;
    const out = taken > 0 ? [input.subarray(0, taken)] : [];
    return { out, rest: taken < input.length ? input.subarray(taken) : undefined, error: undefined };
  }
}

type ChunkState = 'size' | 'data' | 'data-end' | 'trailer' | 'done';

/** Strict RFC 9112 section 7.1: CRLF only, no chunk extensions, bounded lines. */
class ChunkedReader implements BodyReader {
  readonly #payloadOnly: boolean;
  #state: ChunkState = 'size';
  #left = 0;
  #trailerBytes = 0;
  /** The beginning of a line whose end has not come yet; not passed on before it is checked. */
  #held: Buffer | undefined;

  constructor(payloadOnly: boolean) {
    this.#payloadOnly = payloadOnly;
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  push(piece: Buffer): BodyPart {
    const input = this.#held === undefined ? piece : Buffer.concat([this.#held, piece]);
    this.#held = undefined;
    const out: Buffer[] = [];
    let at = 0;
    while (at < input.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const taken = Math.min(this.#left, input.length - at);
        if (this.#payloadOnly) out.push(input.subarray(at, at + taken));
        this.#left -= taken;
        at += taken;
        if (this.#left === 0) this.#state = 'data-end';
        continue;
      }
      const end = input.indexOf(0x0a, at);
      if (end < 0) {
        if (input.length - at > this.#lineLimit()) return failed('overlong chunk line');
        this.#held = Buffer.from(input.subarray(at));
        break;
      }
      const error = this.#readLine(input.toString('latin1', at, end + 1));
      if (error !== undefined) return failed(error);
      at = end + 1;
    }
    if (!this.#payloadOnly && at > 0) out.push(input.subarray(0, at));
    const isOver = this.#state === 'done' && at < input.length;
    return { out: joined(out), rest: isOver ? input.subarray(at) : undefined, error: undefined };
  }

  #lineLimit(): number {
    if (this.#state === 'trailer') return MAX_TRAILER_BYTES - this.#trailerBytes;
    return this.#state === 'size' ? MAX_SIZE_LINE : 2;
  }

  /** @returns what is wrong with it */
  #readLine(line: string): string | undefined {
    if (line.length > this.#lineLimit()) return 'overlong chunk line';
    if (!line.endsWith('\r\n')) return 'bare line break in a chunked body';
    const content = line.slice(0, -2);
    if (this.#state === 'data-end') {
      this.#state = 'size';
      return content === '' ? undefined : 'chunk longer than announced';
    }
    if (this.#state === 'size') {
      if (!/^[0-9A-Fa-f]{1,13}$/.test(content)) return 'malformed chunk size';
      this.#left = Number.parseInt(content, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'data';
      return undefined;
    }
    this.#trailerBytes += line.length;
    if (content === '') {
      this.#state = 'done';
      return undefined;
    }
    const field = parseHeaderField(content);
    return field === undefined || NOT_IN_TRAILERS.test(foldedName(field.lower)) ? 'trailer not allowed' : undefined;
  }
}

/** What was checked before the error is not passed on either: the receiver shall see as little as possible. */
function failed(error: string): BodyPart {
  return { out: [], rest: undefined, error };
}
