import { type OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';

const READ_BYTES = 64 * 1024;
const shared = Buffer.allocUnsafeSlow(READ_BYTES);
/** Up to here Node makes copies in a block of its own, of which many fit one allocation. */
const SMALL_BYTES = 4 * 1024;
/** For copies of what is larger. */
const spares: Buffer[] = [];
const MAX_SPARES = 16;

/**
 * Reads into a buffer that all connections share, instead of one that Node allocates for each read and throws away. It is the
 * garbage of 64 kB each that costs: V8 looks at its whole heap after every few dozen megabytes of it.
 *
 * What a read brings is there during the call only: what is kept must be copied, what is passed on goes by {@link passOn}.
 */
export class SharedReader {
  onRead: (chunk: Buffer) => void = () => undefined;

  /** For a socket's constructor. */
  readonly options: OnReadOpts = {
    buffer: shared,
    callback: (bytes) => {
      this.onRead(shared.subarray(0, bytes));
      return true;
    },
  };
}

/** What Node keeps in a socket for itself. */
interface SocketInside {
  _handle: { useUserBuffer?: unknown } | null;
  _server: unknown;
}

/**
 * Makes an accepted connection, of which nothing was read yet, one that reads into the shared buffer. Node offers that for
 * connections that one makes, not for those that one accepts, so the connection moves to a second socket by what Node uses
 * itself to make the first one.
 *
 * @returns `undefined` where Node is not as expected; then the first one is as it was
 */
export function readShared(accepted: Socket, reader: SharedReader): Socket | undefined {
  const inside = accepted as unknown as SocketInside;
  const handle = inside._handle;
  if (typeof handle?.useUserBuffer !== 'function') return undefined;
  const options: object = { handle, allowHalfOpen: accepted.allowHalfOpen, onread: reader.options };
  const socket = new Socket(options);
  inside._handle = null;
  // The server counts it until it is closed.
  (socket as unknown as SocketInside)._server = inside._server;
  return socket;
}

/**
 * Writes bytes that are there during the call only. Behind what waits already they are copied to their own size: who does
 * not read would otherwise hold a whole block for each few kilobytes.
 * @returns as `write`
 */
export function passOn(to: Duplex, chunk: Buffer): boolean {
  if (chunk.length <= SMALL_BYTES || to.writableLength > 0 || !isOfKernel(to)) return to.write(Buffer.from(chunk));
  const spare = spares.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES);
  chunk.copy(spare);
  return to.write(spare.subarray(0, chunk.length), () => {
    if (spares.length < MAX_SPARES) spares.push(spare);
  });
}

/** Not encrypted, nor a stream within this process: these may still look at bytes that they call written. */
function isOfKernel(stream: object): boolean {
  return stream.constructor === Socket;
}
