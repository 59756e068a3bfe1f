import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { ChunkDecoder } from './chunk-decoder.js';
import type { HeaderField } from './header-fields.js';
import type { Http1Request } from './http2-request-head.js';
import { parseResponseHead, type ResponseHead } from './response-head.js';

const HEAD_END = '\r\n\r\n';
/** They speak of a connection of HTTP/1.1. @see RFC 9113 section 8.2.2 */
const CONNECTION_SPECIFIC = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Sends what the strict front writes as an answer of HTTP/1.1 over a stream of HTTP/2. */
export class Http2Response {
  readonly #stream: ServerHttp2Stream;
  readonly #request: Http1Request;
  #received: Buffer | undefined;
  #head: ResponseHead | undefined;
  #chunks: ChunkDecoder | undefined;
  #left = 0;
  #trailers: readonly HeaderField[] = [];
  #isComplete = false;

  constructor(stream: ServerHttp2Stream, request: Http1Request) {
    this.#stream = stream;
    this.#request = request;
  }

  /** Everything is written; it may still be on its way. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Calls back when the stream takes more. */
  write(bytes: Buffer, done: () => void): void {
    if (this.#stream.destroyed || this.#isComplete) return done();
    if (this.#head !== undefined) return this.#writeBody(bytes, done);
    const received = this.#received === undefined ? bytes : Buffer.concat([this.#received, bytes]);
    this.#received = undefined;
    const end = received.indexOf(HEAD_END, 0, 'latin1');
    if (end < 0) {
      this.#received = received;
      return done();
    }
    const head = parseResponseHead(received.toString('latin1', 0, end), this.#request.method);
    if (typeof head === 'string') throw new TypeError(head);
    const rest = received.subarray(end + HEAD_END.length);
    if (head.status < 200) {
      this.#stream.additionalHeaders({ ...fieldsOf(head.fields), ':status': head.status });
      return this.write(rest, done);
    }
    this.#respond(head);
    this.#writeBody(rest, done);
  }

  /** The strict front closes: the end of a body that has no length of its own. */
  end(): void {
    if (this.#head?.framing.kind === 'close') this.#complete();
  }

  #respond(head: ResponseHead): void {
    this.#head = head;
    const { framing } = head;
    if (framing.kind === 'chunked') this.#chunks = new ChunkDecoder();
    if (framing.kind === 'length') this.#left = framing.length;
    // Not for the trailers alone: without it Node ends the stream properly before it resets it, and an answer that broke
    // off would be taken for a whole one.
    this.#stream.on('wantTrailers', () => {
      if (this.#isComplete) this.#sendTrailers();
    });
    const isEmpty = framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0);
    const fields: OutgoingHttpHeaders = { ':status': head.status, ...fieldsOf(head.fields) };
    if (framing.kind === 'length') fields['content-length'] = String(framing.length);
    this.#stream.respond(fields, { endStream: isEmpty, waitForTrailers: !isEmpty });
    if (isEmpty) this.#complete();
  }

  #writeBody(bytes: Buffer, done: () => void): void {
    const pieces = this.#payload(bytes);
    const last = pieces.pop();
    for (const piece of pieces) this.#stream.write(piece);
    if (last === undefined) done();
    else this.#stream.write(last, () => done());
    const isAll =
      (this.#head?.framing.kind === 'length' && this.#left === 0) || (this.#chunks !== undefined && this.#isLastChunk);
    if (isAll) this.#complete();
  }

  #isLastChunk = false;

  #payload(bytes: Buffer): Buffer[] {
    if (this.#isComplete || bytes.length === 0) return [];
    if (this.#chunks !== undefined) {
      const { payload, trailers } = this.#chunks.push(bytes);
      if (trailers !== undefined) {
        this.#isLastChunk = true;
        this.#trailers = trailers;
      }
      return payload;
    }
    if (this.#head?.framing.kind === 'length') this.#left -= bytes.length;
    return [bytes];
  }

  #complete(): void {
    if (this.#isComplete) return;
    this.#isComplete = true;
    this.#stream.end();
  }

  /** Called by the stream itself, where nobody would catch anything. */
  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(fieldsOf(this.#trailers));
    } catch {
      // Trailers that HTTP/2 cannot carry, such as a field twice that must be single.
      this.#stream.close(NGHTTP2_INTERNAL_ERROR);
    }
  }
}

/** A field that stands in several lines becomes a list. */
function fieldsOf(fields: readonly HeaderField[]): OutgoingHttpHeaders {
  // A server may name a field `constructor`.
  const result: Record<string, string | string[]> = Object.create(null);
  for (const { lower, value } of fields) {
    if (CONNECTION_SPECIFIC.has(lower)) continue;
    const before = result[lower];
    if (before === undefined) result[lower] = value;
    else result[lower] = [...(Array.isArray(before) ? before : [before]), value];
  }
  return result;
}

export const { NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR } = constants;
