import { type HeaderField, parseHeaderField } from './header-fields.js';
import { joined } from './joined.js';

export interface DecodedChunks {
  readonly payload: Buffer[];
  /** Fields behind the last chunk, once the body is complete. */
  readonly trailers: readonly HeaderField[] | undefined;
}

/** Takes the chunks off a body that a {@link BodyReader} has checked already: it only has to find its way. */
export class ChunkDecoder {
  #state: 'line' | 'data' | 'data-end' | 'trailer' | 'done' = 'line';
  #left = 0;
  #held: Buffer | undefined;
  readonly #trailers: HeaderField[] = [];

  push(piece: Buffer): DecodedChunks {
    const input = this.#held === undefined ? piece : Buffer.concat([this.#held, piece]);
    this.#held = undefined;
    const payload: Buffer[] = [];
    let at = 0;
    while (at < input.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const taken = Math.min(this.#left, input.length - at);
        payload.push(input.subarray(at, at + taken));
        this.#left -= taken;
        at += taken;
        if (this.#left === 0) this.#state = 'data-end';
        continue;
      }
      const end = input.indexOf('\r\n', at, 'latin1');
      if (end < 0) {
        this.#held = input.subarray(at);
        break;
      }
      this.#readLine(input.toString('latin1', at, end));
      at = end + 2;
    }
    return { payload: joined(payload), trailers: this.#state === 'done' ? this.#trailers : undefined };
  }

  #readLine(line: string): void {
    if (this.#state === 'data-end') this.#state = 'line';
    else if (this.#state === 'line') {
      this.#left = Number.parseInt(line, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'data';
    } else if (line === '') this.#state = 'done';
    else {
      const field = parseHeaderField(line);
      if (field !== undefined) this.#trailers.push(field);
    }
  }
}
