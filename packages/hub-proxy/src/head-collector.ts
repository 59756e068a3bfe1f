import { isRequestLine, type Refusal } from './request-head.js';

const LF = 0x0a;
const CR = 0x0d;

/** Gathers bytes until a whole request head is there, and refuses early what can never become one. */
export class HeadCollector {
  readonly #maxBytes: number;
  #bytes: Buffer | undefined;
  /** Up to here there is no bare line break and no end of a head. */
  #scanned = 0;
  #isLineChecked = false;
  /** The bytes are there until the next look at them. */
  #isBorrowed = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return this.#bytes === undefined;
  }

  get length(): number {
    return this.#bytes?.length ?? 0;
  }

  /** @param isBorrowed the bytes are there during the call and a {@link take} right behind it only */
  push(chunk: Buffer, isBorrowed = false): void {
    if (chunk.length === 0) return;
    this.#isBorrowed = isBorrowed && this.#bytes === undefined;
    this.#bytes = this.#bytes === undefined ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  clear(): void {
    this.#bytes = undefined;
    this.#scanned = 0;
    this.#isLineChecked = false;
    this.#isBorrowed = false;
  }

  /** The next head without its empty line, in latin1, and what came behind it; `undefined` while it is not complete. */
  take(): { head: string; rest: Buffer } | Refusal | undefined {
    const bytes = this.#bytes;
    const isBorrowed = this.#isBorrowed;
    if (bytes === undefined) return undefined;
    const end = bytes.indexOf('\r\n\r\n', Math.max(0, this.#scanned - 3), 'latin1');
    if (end < 0) {
      if (isBorrowed) this.#bytes = Buffer.from(bytes);
      this.#isBorrowed = false;
      return this.#checkBeginning(bytes);
    }
    if (end > this.#maxBytes) return { status: 431, reason: 'head too large' };
    const head = bytes.toString('latin1', 0, end);
    this.clear();
    const rest = bytes.subarray(end + 4);
    return { head, rest: isBorrowed && rest.length > 0 ? Buffer.from(rest) : rest };
  }

  #checkBeginning(bytes: Buffer): Refusal | undefined {
    for (let at = bytes.indexOf(LF, this.#scanned); at >= 0; at = bytes.indexOf(LF, at + 1)) {
      if (at === 0 || bytes[at - 1] !== CR) return { status: 400, reason: 'bare line break in the head' };
      if (!this.#isLineChecked && !isRequestLine(bytes.toString('latin1', 0, at - 1))) {
        return { status: 400, reason: 'malformed request line' };
      }
      this.#isLineChecked = true;
    }
    this.#scanned = bytes.length;
    return bytes.length > this.#maxBytes ? { status: 431, reason: 'head too large' } : undefined;
  }
}
