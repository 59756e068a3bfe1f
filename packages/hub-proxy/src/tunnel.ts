import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { SECOND_MS } from '@metalhub/base/time.js';
import { closeFrame, FrameBoundary } from './websocket-frames.js';

// How long the other side may take to answer a close frame, or to finish after a half-close.
const CLOSE_WAIT_MS = 5 * SECOND_MS;
const HALF_OPEN_MS = 60 * SECOND_MS;

export interface Tunnel {
  /** Sends a close frame between two frames, then ends both sides. */
  close(code: number): void;
}

/**
 * Passes bytes both ways until both sides are gone. Half-closes are passed on, a slow reader slows its writer.
 *
 * @param upstreamFirst what the upstream sent right behind its 101
 */
export function runTunnel(
  client: Socket,
  upstream: Duplex,
  upstreamFirst: Buffer | undefined,
  hooks: { onActivity: () => void; onEnd: () => void },
): Tunnel {
  const toClient = new FrameBoundary();
  let closeCode: number | undefined;
  let isCloseSent = false;
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;

  function finish(): void {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    client.destroy();
    upstream.destroy();
    hooks.onEnd();
  }

  function finishWithin(milliseconds: number): void {
    clearTimeout(timer);
    timer = setTimeout(finish, milliseconds);
  }

  function sendClose(code: number): void {
    isCloseSent = true;
    client.end(closeFrame(code));
  }

  function passToClient(chunk: Buffer): void {
    if (isCloseSent) return;
    hooks.onActivity();
    if (closeCode === undefined) {
      toClient.push(chunk);
      if (!client.write(chunk)) upstream.pause();
      return;
    }
    client.write(toClient.takeUntilBoundary(chunk));
    if (toClient.isAtBoundary) sendClose(closeCode);
  }

  client.setNoDelay(true);
  client.setKeepAlive(true, 60 * SECOND_MS);
  upstream.on('data', passToClient);
  upstream.on('drain', () => client.resume());
  upstream.on('end', () => {
    client.end();
    finishWithin(HALF_OPEN_MS);
  });
  client.on('data', (chunk: Buffer) => {
    hooks.onActivity();
    if (upstream.writable && !upstream.write(chunk)) client.pause();
  });
  client.on('drain', () => upstream.resume());
  client.on('end', () => {
    upstream.end();
    finishWithin(HALF_OPEN_MS);
  });
  for (const [side, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    side.on('error', finish);
    // What it sent may still wait to be written to the other side: that one ends by itself, or after a time.
    side.on('close', (hadError?: boolean) => {
      if (hadError === true || other.destroyed || other.writableFinished) finish();
      else {
        other.end();
        finishWithin(CLOSE_WAIT_MS);
        other.once('finish', finish);
      }
    });
  }
  if (upstreamFirst !== undefined) passToClient(upstreamFirst);
  client.resume();
  upstream.resume();

  return {
    close(code) {
      if (isOver || closeCode !== undefined) return;
      closeCode = code;
      if (toClient.isAtBoundary) sendClose(code);
      finishWithin(CLOSE_WAIT_MS);
    },
  };
}
