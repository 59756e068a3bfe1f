import type { ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import type { ClientSocket } from './client-socket.js';
import type { Http1Request } from './http2-request-head.js';
import { Http2Response, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR } from './http2-response.js';

const NAME_AND_VALUE = 2;

/**
 * One stream of HTTP/2 as a connection of HTTP/1.1 that carries one request: read by the strict front like any other,
 * so that there is one set of rules. A slow reader on either side slows the other down.
 */
export class Http2StreamSocket extends Duplex implements ClientSocket {
  /** As of a connection: whether something moves is told by them. */
  bytesRead = 0;
  bytesWritten = 0;
  /** Frames of the body that have come, also those that wait to be read. */
  frames = 0;
  readonly #stream: ServerHttp2Stream;
  readonly #request: Http1Request;
  readonly #response: Http2Response;
  #left: number;
  #isRequestComplete: boolean;
  #trailers: readonly string[] = [];

  constructor(stream: ServerHttp2Stream, request: Http1Request) {
    super({ allowHalfOpen: true, autoDestroy: false });
    this.#stream = stream;
    this.#request = request;
    this.#response = new Http2Response(stream, request);
    this.#left = request.length;
    this.#isRequestComplete = request.body === 'none';
    stream.on('error', () => undefined);
    stream.once('close', () => this.destroy());
    this.push(Buffer.from(request.head, 'latin1'));
    if (this.#isRequestComplete) return;
    // Each frame becomes a Buffer of its own that waits here, up to the window: a paused stream tells nobody.
    const push = stream.push.bind(stream);
    stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
      this.frames++;
      return push(chunk, encoding);
    };
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
    // They come when they are received: what is behind them in time may still wait to be read.
    stream.on('trailers', (_fields: unknown, _flags: number, raw?: readonly string[]) => {
      this.#trailers = raw ?? [];
    });
    stream.once('end', () => this.#endBody(this.#trailers));
    stream.pause();
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  override _read(): void {
    if (!this.#isRequestComplete) this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    try {
      this.#response.write(chunk, () => {
        this.bytesWritten += chunk.length;
        callback();
      });
    } catch (error) {
      // An answer that HTTP/2 cannot carry, such as one with a repeated field that must be single.
      callback(error instanceof Error ? error : new Error('answer not understood'));
    }
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#response.end();
    // After an early answer nobody wants the rest of the upload. @see RFC 9113 section 8.1
    if (this.#response.isComplete && !this.#isRequestComplete) {
      if (this.#stream.writableFinished) this.#stream.close(NGHTTP2_NO_ERROR);
      else this.#stream.once('finish', () => this.#stream.close(NGHTTP2_NO_ERROR));
    }
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // A client that never opens its window would hold a whole answer for ever: it had its time.
    const isSent = this.#response.isComplete && this.writableFinished;
    if (!this.#stream.destroyed && !isSent) this.#stream.close(NGHTTP2_INTERNAL_ERROR);
    callback(error);
  }

  #onData(chunk: Buffer): void {
    if (this.#isRequestComplete || this.destroyed) return;
    this.bytesRead += chunk.length;
    if (this.#request.body === 'length') {
      // The HTTP/2 library compares them as well; behind the announced length the next request would begin.
      this.#left -= chunk.length;
      if (this.#left < 0) return this.#abort();
    }
    const isChunked = this.#request.body === 'chunked';
    if (isChunked) this.push(`${chunk.length.toString(16)}\r\n`, 'latin1');
    const takesMore = this.push(chunk);
    if (isChunked && chunk.length > 0) this.push('\r\n', 'latin1');
    if (!takesMore) this.#stream.pause();
  }

  #endBody(trailers: readonly string[]): void {
    if (this.#isRequestComplete || this.destroyed) return;
    this.#isRequestComplete = true;
    if (this.#request.body === 'length') return this.#left === 0 ? undefined : this.#abort();
    const lines: string[] = [];
    for (let index = 0; index + 1 < trailers.length; index += NAME_AND_VALUE) {
      const line = `${trailers[index]}: ${trailers[index + 1]}`;
      if (/[\0\r\n]/.test(line)) return this.#abort();
      lines.push(`${line}\r\n`);
    }
    this.push(`0\r\n${lines.join('')}\r\n`, 'latin1');
  }

  #abort(): void {
    this.#stream.close(NGHTTP2_PROTOCOL_ERROR);
    this.destroy();
  }
}
