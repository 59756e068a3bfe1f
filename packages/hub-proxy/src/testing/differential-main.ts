import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, METHODS } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaultRoute } from '../proxy-state.js';
import { RouteTable } from '../route-table.js';
import { makeRequest } from './message-maker.js';
import { answersConfiguration, compareAnswers } from './nginx-answers.js';
import { Random } from './random.js';
import { pairsOf, type ReadRequest, readOurs } from './readers.js';

/**
 * By hand, where nginx runs: `node differential-main.js PORT DIRECTORY [COUNT] [SEED]` writes the configuration for nginx into the directory,
 * waits until it listens on the port, and compares its reading of random requests, and of random answers, with ours. scripts/fuzz-nginx
 * starts both.
 */
const [port = '18500', directory = mkdtempSync(join(tmpdir(), 'fuzz-')), count = '5000', seed = '1'] =
  process.argv.slice(2);

const NOT_PASSED =
  /^(?:host|connection|content-length|transfer-encoding|keep-alive|te|upgrade|expect|x-route|trailer): /;
const ANSWER_MS = 1000;

const upstreamPath = join(directory, 'upstream.sock');
let seen: (ReadRequest & { route: string; host: string })[] = [];

function startUpstream(): Promise<void> {
  rmSync(upstreamPath, { force: true });
  const server = createServer((incoming, response) => {
    let body = '';
    incoming.setEncoding('latin1');
    incoming.on('data', (piece: string) => {
      body += piece;
    });
    incoming.on('end', () => {
      const { method = '', url: target = '' } = incoming;
      const fields = pairsOf(incoming.rawHeaders);
      const route = String(incoming.headers['x-route']);
      seen.push({ method, target, fields, body, route, host: incoming.headers.host ?? '' });
      response.writeHead(200, { 'Content-Length': 0 }).end();
    });
  });
  // An upgrade is refused: only its reading counts.
  server.on('upgrade', (incoming, socket) => {
    const { method = '', url: target = '' } = incoming;
    const fields = pairsOf(incoming.rawHeaders);
    seen.push({ method, target, fields, body: '', route: String(incoming.headers['x-route']), host: '' });
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });
  return new Promise((resolve) => server.listen(upstreamPath, resolve));
}

function writeConfiguration(): void {
  const location = (path: string, route: string): string =>
    `location ${path} { proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Host $http_host;
       proxy_set_header X-Route ${route}; proxy_set_header Upgrade $http_upgrade; }`;
  const answers = answersConfiguration(directory);
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off; user root; worker_processes 1; error_log ${directory}/error.log; pid ${directory}/nginx.pid;
events { worker_connections 1000; }
http { access_log off; underscores_in_headers on; ignore_invalid_headers off; lingering_close off;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
  upstream upstream { server unix:${upstreamPath}; }
  ${answers.upstream}
  server { listen 127.0.0.1:${port}; ${location('/', '/')} ${location('/user/anna/', '/user/anna/')} ${answers.location} } }
`,
  );
}

/** Sends the bytes; resolves when so many answers have come, the connection was closed, or nothing happens any more. */
function send(text: string, answers: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port: Number(port), host: '127.0.0.1' });
    let got = '';
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(got);
    };
    const timer = setTimeout(done, ANSWER_MS);
    socket.setEncoding('latin1');
    socket.on('data', (piece: string) => {
      got += piece;
      if ((got.match(/^HTTP\/1\.1 (?!100)/gm)?.length ?? 0) >= answers) done();
    });
    socket.on('error', done);
    socket.on('close', done);
    socket.write(text, 'latin1');
  });
}

async function untilListening(): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    if ((await send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 1)).startsWith('HTTP/1.1 200')) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('nginx does not answer');
}

/** nginx knows methods of letters, `_` and `-` only; the server behind it, which says what it passed on, those of llhttp. */
function isNotComparable({ method }: ReadRequest): boolean {
  return /[0-9]/.test(method) || !METHODS.includes(method);
}

function comparable({ method, target, fields, body }: ReadRequest): string {
  return JSON.stringify({ method, target, fields: fields.filter((field) => !NOT_PASSED.test(field)), body });
}

const table = new RouteTable([defaultRoute('/hub'), { ...defaultRoute('/anna'), prefix: '/user/anna/' }]);

/** What our route is `/` for may be nginx's other one, since nginx decodes first: that leads to the hub, which decodes nothing. */
function isRouteRight(request: ReadRequest, route: string): boolean {
  const ours = table.findRoute(request.target.split('?', 1)[0] ?? '', 'localhost')?.prefix;
  return ours === '/' || ours === route || request.target === '/user/anna';
}

function findDifference(
  requests: readonly ReadRequest[],
): { ours: ReadRequest; theirs: ReadRequest | undefined } | undefined {
  for (const [index, ours] of requests.entries()) {
    const theirs = seen[index];
    const isSame = theirs !== undefined && comparable(theirs) === comparable(ours) && isRouteRight(ours, theirs.route);
    if (!isSame) return { ours, theirs };
  }
  return undefined;
}

async function main(): Promise<void> {
  await startUpstream();
  writeConfiguration();
  await untilListening();
  const random = new Random(Number(seed));
  let [compared, refused, differing] = [0, 0, 0];
  for (let round = 0; round < Number(count); round++) {
    const text = makeRequest(random);
    const { requests } = readOurs(text);
    if (requests.some(isNotComparable)) refused++;
    if (requests.length === 0 || requests.some(isNotComparable)) continue;
    compared += requests.length;
    let answer = '';
    let wrong: { ours: ReadRequest; theirs: ReadRequest | undefined } | undefined;
    // What nginx still did for the round before may have come in between: then it does not happen again.
    for (let attempt = 0; attempt < 2 && (attempt === 0 || wrong !== undefined); attempt++) {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, 100));
      seen = [];
      answer = await send(text, requests.length);
      wrong = findDifference(requests);
    }
    if (wrong === undefined) continue;
    differing++;
    console.log(JSON.stringify({ text, ...wrong, answer: answer.slice(0, 200) }, undefined, 1));
  }
  console.log(
    `${compared} accepted requests compared, ${refused} left out for a method that one of them refuses, ${differing} read differently`,
  );
  const answers = await compareAnswers(directory, Number(port), random, Number(count));
  console.log(
    `${answers.compared} accepted answers compared, ${answers.refused} left out that nginx refuses, ${answers.differing} read differently`,
  );
  process.exit(differing + answers.differing === 0 ? 0 : 1);
}

await main();
