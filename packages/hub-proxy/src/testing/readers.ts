import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import { createBodyReader } from '../body-reader.js';
import { HeadCollector } from '../head-collector.js';
import { isRefusal, parseRequestHead } from '../request-head.js';
import { parseResponseHead } from '../response-head.js';

/** One request as a reader understood it. */
export interface ReadRequest {
  readonly method: string;
  readonly target: string;
  /** `name: value` in order, names in lower case. */
  readonly fields: readonly string[];
  /** Without chunks, in latin1. */
  readonly body: string;
}

/** What a reader made of some bytes: requests, in order, up to where it refused or where they ended. */
export interface Reading {
  readonly requests: readonly ReadRequest[];
  readonly isRefused: boolean;
}

/** The strict front's reading, given in pieces of at most that size. */
export function readOurs(text: string, pieceBytes = text.length): Reading {
  const requests: ReadRequest[] = [];
  const collector = new HeadCollector(16 * 1024);
  let input = Buffer.from(text, 'latin1');
  const refused = (): Reading => ({ requests, isRefused: true });
  for (;;) {
    const found = collector.take();
    if (found !== undefined && 'status' in found) return refused();
    if (found === undefined) {
      if (input.length === 0) return { requests, isRefused: false };
      collector.push(input.subarray(0, pieceBytes));
      input = input.subarray(pieceBytes);
      continue;
    }
    const head = parseRequestHead(found.head);
    if (isRefusal(head) || (head.isUpgrade && found.rest.length + input.length > 0)) return refused();
    input = Buffer.concat([found.rest, input]);
    const reader = createBodyReader(head.framing, { payloadOnly: true });
    let body = '';
    while (!reader.done && input.length > 0) {
      const part = reader.push(input.subarray(0, pieceBytes));
      if (part.error !== undefined) return refused();
      body += Buffer.concat(part.out).toString('latin1');
      input = Buffer.concat([part.rest ?? Buffer.alloc(0), input.subarray(pieceBytes)]);
    }
    if (!reader.done) return { requests, isRefused: false };
    const fields = head.fields.map(({ lower, value }) => `${lower}: ${value}`);
    requests.push({ method: head.method, target: head.target, fields, body });
    // What follows is never looked at.
    if (!head.keepAlive) return { requests, isRefused: false };
  }
}

/** node:http's reading of requests, that is llhttp's, without a network. */
export class NodeReader {
  readonly #server: Server;
  #requests: ReadRequest[] = [];
  #isRefused = false;

  constructor() {
    this.#server = createServer({
      maxHeaderSize: 64 * 1024,
      keepAliveTimeout: 0,
      requestTimeout: 0,
      headersTimeout: 0,
    });
    this.#server.maxHeadersCount = 1000;
    this.#server.on('request', (incoming, response) => {
      this.#collect(incoming);
      response.end();
    });
    this.#server.on('checkContinue', (incoming, response) => {
      this.#collect(incoming);
      response.end();
    });
    this.#server.on('checkExpectation', (_incoming, response) => response.end());
    this.#server.on('upgrade', (incoming, socket) => {
      this.#note(incoming, '');
      socket.destroy();
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      // The end in the middle of a message is not a refusal.
      if (error.code !== 'HPE_INVALID_EOF_STATE' && error.code !== 'ECONNRESET') this.#isRefused = true;
      socket.destroy();
    });
  }

  async read(text: string): Promise<Reading> {
    this.#requests = [];
    this.#isRefused = false;
    const [near, far] = duplexPair();
    near.on('error', () => undefined);
    near.resume();
    const closed = new Promise<void>((resolve) => far.once('close', resolve));
    this.#server.emit('connection', far);
    near.end(Buffer.from(text, 'latin1'));
    await closed;
    return { requests: this.#requests, isRefused: this.#isRefused };
  }

  #collect(incoming: IncomingMessage): void {
    let body = '';
    incoming.setEncoding('latin1');
    incoming.on('data', (piece: string) => {
      body += piece;
    });
    incoming.on('end', () => incoming.complete && this.#note(incoming, body));
    incoming.on('error', () => undefined);
  }

  #note(incoming: IncomingMessage, body: string): void {
    this.#requests.push({
      method: incoming.method ?? '',
      target: incoming.url ?? '',
      fields: pairsOf(incoming.rawHeaders),
      body,
    });
  }
}

export function pairsOf(raw: readonly string[]): string[] {
  const pairs: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) pairs.push(`${raw[index]?.toLowerCase()}: ${raw[index + 1]}`);
  return pairs;
}

/** An answer as a reader understood it; `undefined` when it was refused or incomplete. */
export interface ReadResponse {
  readonly status: number;
  readonly fields: readonly string[];
  readonly body: string;
}

/**
 * The proxy's reading of the first final answer in the text; the connection ends behind it. `end` is where that answer ends:
 * what follows is never looked at.
 */
export function readOurResponse(text: string, method: string): { read: ReadResponse; end: number } | undefined {
  let input = Buffer.from(text, 'latin1');
  for (;;) {
    const end = input.indexOf('\r\n\r\n');
    if (end < 0) return undefined;
    const head = parseResponseHead(input.toString('latin1', 0, end), method);
    if (typeof head === 'string' || head.status === 101) return undefined;
    input = input.subarray(end + 4);
    if (head.status < 200) continue;
    const reader = createBodyReader(head.framing, { payloadOnly: true });
    const part = reader.push(input);
    if (part.error !== undefined || (!reader.done && head.framing.kind !== 'close')) return undefined;
    const fields = head.fields.map(({ lower, value }) => `${lower}: ${value}`);
    const read = { status: head.status, fields, body: Buffer.concat(part.out).toString('latin1') };
    return { read, end: text.length - (part.rest?.length ?? 0) };
  }
}

/** node:http's reading of an answer. */
export function readNodeResponse(text: string, method: string): Promise<ReadResponse | undefined> {
  const [near, far] = duplexPair();
  far.on('error', () => undefined);
  far.resume();
  return new Promise((resolve) => {
    const outgoing = request({
      method,
      createConnection: () => near as Duplex,
      host: 'localhost',
      maxHeaderSize: 128 * 1024,
    });
    outgoing.on('error', () => resolve(undefined));
    outgoing.on('upgrade', () => resolve(undefined));
    outgoing.on('response', (incoming) => {
      let body = '';
      incoming.setEncoding('latin1');
      incoming.on('data', (piece: string) => {
        body += piece;
      });
      incoming.on('error', () => resolve(undefined));
      incoming.on('close', () => {
        const response = { status: incoming.statusCode ?? 0, fields: pairsOf(incoming.rawHeaders), body };
        resolve(incoming.complete ? response : undefined);
      });
    });
    outgoing.end();
    far.end(Buffer.from(text, 'latin1'));
  });
}
