import type { Duplex } from 'node:stream';
import type { SharedReader } from './shared-reader.js';

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
    else reader.onRead = (chunk) => this.#user.onUpstreamData(chunk, true);
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
