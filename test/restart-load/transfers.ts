import type { Socket } from 'node:net';
import { findWrong, patternAt } from './pattern.js';
import { openConnection, parseAnswerHead, requestHead, type Target, untilWritable } from './target.js';

export interface TransferReport {
  readonly bytes: number;
  readonly seconds: number;
  /** `undefined` when every byte was right. */
  readonly failure: string | undefined;
}

export interface Transfer {
  /** From now on as fast as it goes. */
  hurry(): void;
  /** Resolves at its end. */
  readonly done: Promise<TransferReport>;
}

const TICK_MS = 50;
const CLOSE = ['Connection: close'];

/** @param rate bytes per second, kept by the server */
export function startDownload(target: Target, bytes: number, rate: number): Transfer {
  let received = 0;
  async function run(): Promise<string | undefined> {
    const socket = await openConnection(target);
    socket.write(requestHead(target, 'GET', `download?bytes=${bytes}&rate=${rate}`));
    const { status, length, rest } = await readHead(socket);
    if (status !== 200 || length !== bytes) return `status ${status}, length ${length}`;
    const failure = await new Promise<string | undefined>((resolve) => {
      const take = (chunk: Buffer): void => {
        const wrong = findWrong(received, chunk);
        received += chunk.length;
        if (wrong !== undefined) resolve(`wrong bytes near ${wrong}`);
        else if (received >= bytes) resolve(received === bytes ? undefined : 'more bytes than announced');
      };
      socket.on('data', take);
      socket.on('close', () => resolve(`ended after ${received} bytes`));
      if (rest.length > 0) take(rest);
      socket.resume();
    });
    socket.destroy();
    return failure;
  }
  return {
    hurry: () =>
      void openConnection(target).then((socket) => socket.resume().write(requestHead(target, 'GET', 'hurry', CLOSE))),
    done: report(run, () => received),
  };
}

export function startUpload(target: Target, bytes: number, rate: number): Transfer {
  let sent = 0;
  let isHurried = false;
  async function run(): Promise<string | undefined> {
    const socket = await openConnection(target);
    const answer = readHead(socket);
    answer.catch(() => undefined); // seen below
    socket.write(requestHead(target, 'POST', 'upload', [`Content-Length: ${bytes}`]));
    while (sent < bytes && !socket.destroyed) {
      const until = isHurried ? bytes : Math.min(bytes, sent + (rate * TICK_MS) / 1000);
      while (sent < until && !socket.destroyed) {
        const piece = patternAt(sent, bytes - sent);
        sent += piece.length;
        if (!socket.write(piece)) await untilWritable(socket);
      }
      if (!isHurried) await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    }
    const { status, length, rest } = await answer;
    let body = rest.toString();
    while (body.length < length) body += String(await new Promise((resolve) => socket.once('data', resolve).resume()));
    socket.destroy();
    const expected = JSON.stringify({ received: bytes, wrongAt: null });
    return status === 200 && body === expected ? undefined : `status ${status}: ${body}`;
  }
  return {
    hurry: () => {
      isHurried = true;
    },
    done: report(run, () => sent),
  };
}

async function report(run: () => Promise<string | undefined>, count: () => number): Promise<TransferReport> {
  const begin = performance.now();
  const failure = await run().catch((error: unknown) => String(error));
  return { bytes: count(), seconds: Math.round((performance.now() - begin) / 100) / 10, failure };
}

function readHead(socket: Socket): Promise<{ status: number; length: number; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const onClose = (): void => reject(new Error('the connection ended before the answer'));
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf('\r\n\r\n');
      if (end < 0) return;
      socket.pause().off('data', onData).off('close', onClose);
      const { status, length } = parseAnswerHead(received.toString('latin1', 0, end));
      resolve({ status, length, rest: received.subarray(end + 4) });
    };
    socket.on('data', onData).on('close', onClose);
  });
}
