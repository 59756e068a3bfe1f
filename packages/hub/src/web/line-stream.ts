import type { ServerResponse } from 'node:http';
import { SECOND_MS } from '@metalhub/base/time.js';

const KEEP_ALIVE_MS = 8 * SECOND_MS;
const MAX_UNREAD_BYTES = 2 * 1024 * 1024;

/**
 * Begins an answer of one JSON value per line that may stay silent for hours. Empty lines come in between, so that a
 * reader that is gone is noticed.
 *
 * @returns writes a value; nothing happens once the answer has ended
 */
export function openLineStream(
  response: ServerResponse,
  { keepAliveMs = KEEP_ALIVE_MS }: { keepAliveMs?: number } = {},
): (value: unknown) => void {
  // Whoever listens decides; without a listener the server ends what is idle.
  response.on('timeout', () => undefined);
  response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' });
  const write = (line: string): void => {
    if (!response.writableEnded) response.write(line);
  };
  const timer = setInterval(() => {
    // Who has not read what is there needs no sign of life.
    if (!response.writableNeedDrain) write('\n');
  }, keepAliveMs);
  response.once('close', () => clearInterval(timer));
  return (value) => write(`${JSON.stringify(value)}\n`);
}

/** Of answers whose reader is behind: several lines may ask before it reads on. */
const waiting = new WeakMap<ServerResponse, Promise<void>>();

/** What to wait for before more is written: `undefined` while the reader keeps up. It never rejects. */
export function roomIn(response: ServerResponse): Promise<void> | undefined {
  if (response.writableLength <= MAX_UNREAD_BYTES || response.destroyed) return undefined;
  const begun = waiting.get(response);
  if (begun !== undefined) return begun;
  const room = new Promise<void>((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      waiting.delete(response);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
  waiting.set(response, room);
  return room;
}
