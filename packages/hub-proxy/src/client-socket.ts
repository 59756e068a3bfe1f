import type { Duplex } from 'node:stream';

/** What a request comes in on: a plain or encrypted connection, or one stream of an HTTP/2 connection. */
export type ClientSocket = Duplex & {
  setNoDelay(noDelay?: boolean): unknown;
  setKeepAlive(enable?: boolean, initialDelayMs?: number): unknown;
};
