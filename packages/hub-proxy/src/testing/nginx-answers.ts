import { type IncomingMessage, request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { makeResponse } from './message-maker.js';
import type { Random } from './random.js';
import { pairsOf, type ReadResponse, readOurResponse } from './readers.js';

/** Framing, which may differ on the way, and what nginx says itself. */
const NOT_PASSED =
  /^(?:connection|content-length|transfer-encoding|keep-alive|date|server|trailer|te|upgrade|content-type): /;
const PATH = '/answer/';

/** For the configuration of nginx. @param directory that holds the socket */
export function answersConfiguration(directory: string): { upstream: string; location: string } {
  return {
    upstream: `upstream answers { server unix:${join(directory, 'answers.sock')} max_fails=0; }`,
    location: `location ${PATH} { proxy_pass http://answers; proxy_http_version 1.1; proxy_next_upstream off;
       proxy_buffer_size 64k; proxy_buffers 4 64k; }`,
  };
}

export interface AnswersSummary {
  readonly compared: number;
  readonly refused: number;
  readonly differing: number;
}

/** Sends random answers that we accept through nginx, and compares what comes out with what we have read. */
export async function compareAnswers(
  directory: string,
  port: number,
  random: Random,
  count: number,
): Promise<AnswersSummary> {
  let answer = '';
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', () => socket.end(answer, 'latin1'));
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'answers.sock'), resolve));
  let [compared, refused, differing] = [0, 0, 0];
  for (let round = 0; round < count; round++) {
    const text = makeResponse(random);
    const method = random.pick(['GET', 'GET', 'HEAD']);
    const ours = readOurResponse(text, method);
    if (ours === undefined) continue;
    answer = text.slice(0, ours.end);
    const theirs = await ask(port, method);
    // Whoever refuses does not misunderstand.
    if (theirs?.status === 502) {
      refused++;
      continue;
    }
    compared++;
    if (theirs !== undefined && comparable(theirs) === comparable(ours.read)) continue;
    differing++;
    console.log(JSON.stringify({ method, text, ours: ours.read, theirs }, undefined, 1));
  }
  server.close();
  return { compared, refused, differing };
}

function comparable({ status, fields, body }: ReadResponse): string {
  return JSON.stringify([status, fields.filter((field) => !NOT_PASSED.test(field)).sort(), body]);
}

/** @returns `undefined` when the answer broke off */
function ask(port: number, method: string): Promise<ReadResponse | undefined> {
  return new Promise((resolve) => {
    const sent = request({ host: '127.0.0.1', port, method, path: PATH, agent: false }, (incoming: IncomingMessage) => {
      let body = '';
      incoming.setEncoding('latin1');
      incoming.on('data', (piece: string) => {
        body += piece;
      });
      incoming.on('error', () => undefined);
      incoming.on('close', () => {
        const read = { status: incoming.statusCode ?? 0, fields: pairsOf(incoming.rawHeaders), body };
        resolve(incoming.complete ? read : undefined);
      });
    });
    sent.on('error', () => resolve(undefined));
    sent.end();
  });
}
