import type { OnReadOpts } from 'node:net';
import type { Duplex } from 'node:stream';

/** Who reads from an upstream connection at the moment. */
export interface UpstreamUser {
  /** @param isBorrowed the bytes are there during the call only: what is kept, or may wait to be written, must be copied */
  onUpstreamData(chunk: Buffer, isBorrowed: boolean): void;
  onUpstreamEnd(): void;
  /** It is closed, whether by an error or not. */
  onUpstreamClose(hadError: boolean): void;
  /** It takes more again. */
  onUpstreamDrain(): void;
}

/**
 * A connection to a server, which is used by one request after the other, or by a tunnel.
 *
 * Its listeners are attached once; who uses it changes. While nobody does it must stay silent: anything that comes then
 * ends it.
 */
export class UpstreamConnection implements UpstreamUser {
  readonly stream: Duplex;
  #user: UpstreamUser = this;
  #isPaused = false;

  /** @param reader when the socket was made with its options; without one the stream's own events are used */
  constructor(stream: Duplex, reader?: SharedReader) {
    this.stream = stream;
    if (reader === undefined) stream.on('data', (chunk: Buffer) => this.#user.onUpstreamData(chunk, false));
    else reader.onRead = (chunk, isBorrowed) => this.#user.onUpstreamData(chunk, isBorrowed);
    stream.on('end', () => this.#user.onUpstreamEnd());
    stream.on('error', () => stream.destroy());
    stream.on('close', (hadError?: boolean) => this.#user.onUpstreamClose(hadError === true));
    stream.on('drain', () => this.#user.onUpstreamDrain());
  }

  get isUsable(): boolean {
    return this.stream.writable && !this.stream.destroyed;
  }

  /** From now on everything goes to this one. */
  use(user: UpstreamUser): void {
    this.#user = user;
    this.resume();
  }

  /** Nobody uses it. */
  release(): void {
    this.#user = this;
    this.resume();
  }

  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.stream.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.stream.resume();
  }

  destroy(): void {
    this.#user = this;
    this.stream.destroy();
  }

  onUpstreamData(): void {
    this.stream.destroy();
  }

  onUpstreamEnd(): void {
    this.stream.destroy();
  }

  onUpstreamClose(): void {
    // Nobody waits for anything.
  }

  onUpstreamDrain(): void {
    // Nobody writes.
  }
}

const READ_BYTES = 64 * 1024;
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/**
 * Reads into a buffer that all connections share, instead of one that is allocated for each read and thrown away: what a
 * read brings is passed on, or copied, before the next. A connection that fills it gets buffers of its own as long as it
 * does, so that large bodies are not copied.
 */
export class SharedReader {
  onRead: (chunk: Buffer, isBorrowed: boolean) => void = () => undefined;
  #buffer: Buffer = shared;
  #isBusy = false;

  /** For net.connect. */
  readonly options: OnReadOpts = {
    buffer: () => {
      this.#buffer = this.#isBusy ? Buffer.allocUnsafeSlow(READ_BYTES) : shared;
      return this.#buffer;
    },
    callback: (bytes) => {
      const buffer = this.#buffer;
      this.#isBusy = bytes >= READ_BYTES / 2;
      this.onRead(buffer.subarray(0, bytes), buffer === shared);
      return true;
    },
  };
}
