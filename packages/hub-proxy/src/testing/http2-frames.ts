import { connect, type TLSSocket } from 'node:tls';

/** Frames of HTTP/2 as somebody sends them who keeps no rule. @see RFC 9113 section 6 */

export const FRAME = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PING: 0x6,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const;
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const INITIAL_WINDOW_SIZE = 0x4;
const HEAD_BYTES = 9;

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** @param isIndexed whether the other side shall keep it, to be named by one byte afterwards (RFC 7541 section 6.2) */
export function field(name: string, value: string, isIndexed = false): Buffer {
  return Buffer.concat([Buffer.from([isIndexed ? 0x40 : 0x00]), text(name), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length, 0x7f), bytes]);
}

/** @param limit largest value that fits into the first byte @see RFC 7541 section 5.1 */
function integer(value: number, limit: number): Buffer {
  if (value < limit) return Buffer.from([value]);
  const bytes = [limit];
  let rest = value - limit;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Fields of a request. */
export function requestFields(path: string, cookie: string, others: Readonly<Record<string, string>> = {}): Buffer {
  const fields = {
    ':method': 'GET',
    ':scheme': 'https',
    ':authority': 'hub.example.org',
    ...others,
    ':path': path,
    ...(cookie !== '' && { cookie }),
  };
  const pseudoFirst = Object.entries(fields).sort(([a], [b]) => Number(b.startsWith(':')) - Number(a.startsWith(':')));
  return Buffer.concat(pseudoFirst.map(([name, value]) => field(name, value)));
}

/** A connection on which the handshake is done, and nothing is read unless asked for. */
export interface FrameClient {
  readonly socket: TLSSocket;
  readonly isClosed: boolean;
  /** Resolves when the other side takes more, or has closed. */
  send(bytes: Buffer): Promise<void>;
}

export interface FrameClientOptions {
  readonly port: number;
  /** Bytes the other side may send per stream. */
  readonly window?: number;
  /** Whether what comes is read, and thrown away. */
  readonly isReading?: boolean;
}

export function openFrameClient({ port, window, isReading = true }: FrameClientOptions): Promise<FrameClient> {
  const socket = connect({
    port,
    host: '127.0.0.1',
    servername: 'hub.example.org',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  let isClosed = false;
  socket.on('error', () => undefined);
  socket.once('close', () => {
    isClosed = true;
  });
  return new Promise((resolve) => {
    socket.once('secureConnect', () => {
      const settings =
        window === undefined ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0, INITIAL_WINDOW_SIZE]), uint32(window)]);
      socket.write(
        Buffer.concat([Buffer.from(PREFACE), frame(FRAME.SETTINGS, 0, 0, settings), frame(FRAME.SETTINGS, ACK, 0)]),
      );
      if (isReading) socket.resume();
      const client: FrameClient = {
        socket,
        get isClosed() {
          return isClosed;
        },
        send: async (bytes) => {
          if (isClosed) return;
          if (socket.write(bytes)) return nextTurn();
          await new Promise<void>((resolve) => {
            const done = (): void => {
              socket.off('drain', done).off('close', done);
              resolve();
            };
            socket.once('drain', done).once('close', done);
          });
        },
      };
      resolve(client);
    });
  });
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
