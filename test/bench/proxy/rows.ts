import type { Socket } from 'node:net';
import type { Contestant } from './contestants.js';
import {
  type LoadResult,
  runClosedLoop,
  runNewConnections,
  runOpenLoop,
  runTransfers,
  type Target,
} from './http-load.js';
import { UPSTREAM_PREFIX } from './hub-proxy.js';
import { cpuMicroseconds, memoryBytes } from './processes.js';
import { SMALL_BODY } from './upstream.js';
import { makeFrame, openWebSocket, runEcho } from './websocket-load.js';

/** One figure of one proxy. */
export interface Row {
  readonly what: string;
  readonly who: string;
  readonly value: number;
}

export interface Subject {
  readonly contestant: Contestant;
  /** The ticket, sent to everybody. */
  readonly cookie: string;
}

const CONNECTIONS = 32;
const WARM_UP_MS = 1500;
const MOST_PER_SECOND = 8000;

/** Head of a request as a script sends it, or a browser. */
function headOf(subject: Subject, line: string, isTls: boolean, fields: readonly string[] = []): string {
  const { contestant, cookie } = subject;
  const port = isTls ? contestant.tlsPort : contestant.port;
  return [`${line} HTTP/1.1`, `Host: 127.0.0.1:${port}`, `Cookie: ${cookie}; _xsrf=2|a|b|1`, ...fields, '', ''].join(
    '\r\n',
  );
}

function browserFields({ contestant }: Subject): string[] {
  return [
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    'Accept: application/json, text/javascript, */*; q=0.01',
    'Accept-Language: en-US,en;q=0.5',
    'Accept-Encoding: gzip, deflate, br, zstd',
    `Referer: http://127.0.0.1:${contestant.port}${contestant.prefix}lab`,
    'Connection: keep-alive',
    'Sec-Fetch-Dest: empty',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Site: same-origin',
  ];
}

/** Something that is measured of every proxy in turn, several times. */
export interface Measurement {
  /** By which it is asked for. */
  readonly name: string;
  readonly isFor: (contestant: Contestant) => boolean;
  /** @returns figures by what they are */
  readonly run: (subject: Subject, milliseconds: number) => Promise<Record<string, number>>;
}

function targetOf(
  subject: Subject,
  fields: readonly string[],
  changes: { isTls?: boolean; prefix?: string } = {},
): Target {
  const { contestant } = subject;
  const { isTls = false, prefix = contestant.prefix } = changes;
  return {
    port: (isTls ? contestant.tlsPort : contestant.port) ?? 0,
    isTls,
    request: Buffer.from(headOf(subject, `GET ${prefix}api/kernels?1`, isTls, fields), 'latin1'),
    body: SMALL_BODY,
  };
}

async function cpuPerRequest({ contestant }: Subject, run: () => Promise<LoadResult>): Promise<number> {
  const before = cpuMicroseconds(contestant.pid);
  const { requests } = await run();
  return (cpuMicroseconds(contestant.pid) - before) / requests;
}

const isPlain = (contestant: Contestant): boolean => contestant.tlsPort !== contestant.port;
const hasTls = (contestant: Contestant): boolean => contestant.tlsPort !== undefined;
const isOurs = (contestant: Contestant): boolean => contestant.name === 'hub-proxy';

/** Lets compilers at run time see what comes, before it counts. */
export async function warmUp(subject: Subject): Promise<void> {
  const enough = { requests: 12_000 };
  if (!isPlain(subject.contestant)) {
    await runClosedLoop(targetOf(subject, [], { isTls: true }), CONNECTIONS, WARM_UP_MS, enough);
    return;
  }
  await runClosedLoop(targetOf(subject, browserFields(subject)), CONNECTIONS, WARM_UP_MS, enough);
  if (isOurs(subject.contestant)) {
    await runClosedLoop(targetOf(subject, [], { prefix: UPSTREAM_PREFIX }), CONNECTIONS, WARM_UP_MS, {
      requests: 6000,
    });
  }
  await runNewConnections(targetOf(subject, ['Connection: close']), 16, WARM_UP_MS / 4);
  const sockets = await openWebSockets(subject, 16);
  await runEcho(sockets, makeFrame(100), WARM_UP_MS / 4);
  await runEcho(sockets, makeFrame(100_000), WARM_UP_MS / 4);
  for (const socket of sockets) socket.destroy();
}

export function measureBrowserRequest(subject: Subject, milliseconds: number): Promise<number> {
  const target = targetOf(subject, browserFields(subject));
  return cpuPerRequest(subject, () => runClosedLoop(target, CONNECTIONS, milliseconds));
}

export const MEASUREMENTS: readonly Measurement[] = [
  {
    name: 'request',
    isFor: isPlain,
    run: async (subject, milliseconds) => ({
      'request with 2 fields: CPU µs': await cpuPerRequest(subject, () =>
        runClosedLoop(targetOf(subject, []), CONNECTIONS, milliseconds),
      ),
      'request of a browser, 11 fields: CPU µs': await measureBrowserRequest(subject, milliseconds),
    }),
  },
  {
    name: 'upstream',
    isFor: isOurs,
    run: async (subject, milliseconds) => ({
      'the same, route with auth upstream: CPU µs': await cpuPerRequest(subject, () =>
        runClosedLoop(
          targetOf(subject, browserFields(subject), { prefix: UPSTREAM_PREFIX }),
          CONNECTIONS,
          milliseconds,
        ),
      ),
    }),
  },
  {
    name: 'new',
    isFor: isPlain,
    run: async (subject, milliseconds) => ({
      'request on a new connection: CPU µs': await cpuPerRequest(subject, () =>
        runNewConnections(
          targetOf(
            subject,
            [...browserFields(subject), 'Connection: close'].filter((line) => line !== 'Connection: keep-alive'),
          ),
          16,
          milliseconds,
        ),
      ),
    }),
  },
  {
    name: 'latency',
    isFor: isPlain,
    run: async (subject, milliseconds) => {
      const target = targetOf(subject, browserFields(subject));
      const cpu = await cpuPerRequest(subject, () => runClosedLoop(target, CONNECTIONS, milliseconds / 2));
      const perSecond = Math.min(MOST_PER_SECOND, 1e6 / cpu / 2);
      const { latenciesMs } = await runOpenLoop(target, 64, perSecond, milliseconds);
      return {
        'latency at half load: median, ms': latenciesMs[Math.floor(latenciesMs.length * 0.5)] ?? Number.NaN,
        'latency at half load: p99, ms': latenciesMs[Math.floor(latenciesMs.length * 0.99)] ?? Number.NaN,
        '  which is so many requests a second': perSecond,
      };
    },
  },
  { name: 'transfer', isFor: isPlain, run: (subject, milliseconds) => transfer(subject, 'download', milliseconds / 2) },
  { name: 'transfer', isFor: isPlain, run: (subject, milliseconds) => transfer(subject, 'upload', milliseconds / 2) },
  {
    name: 'websocket',
    isFor: isPlain,
    run: (subject, milliseconds) => messages(subject, '100 bytes', 100, milliseconds),
  },
  {
    name: 'websocket',
    isFor: isPlain,
    run: (subject, milliseconds) => messages(subject, '100 kB', 100_000, milliseconds),
  },
  {
    name: 'tls',
    isFor: hasTls,
    run: async (subject, milliseconds) => ({
      'TLS, request of a browser: CPU µs': await cpuPerRequest(subject, () =>
        runClosedLoop(targetOf(subject, browserFields(subject), { isTls: true }), CONNECTIONS, milliseconds),
      ),
      'TLS, request on a new connection: CPU µs': await cpuPerRequest(subject, () =>
        runNewConnections(targetOf(subject, ['Connection: close'], { isTls: true }), 8, milliseconds),
      ),
    }),
  },
];

async function transfer(
  subject: Subject,
  kind: 'download' | 'upload',
  milliseconds: number,
): Promise<Record<string, number>> {
  const size = 64 * 1024 * 1024;
  const { contestant } = subject;
  const origin = `Origin: http://127.0.0.1:${contestant.port}`;
  const head =
    kind === 'download'
      ? headOf(subject, `GET ${contestant.prefix}download/${size}`, false)
      : headOf(subject, `PUT ${contestant.prefix}upload`, false, [origin, `Content-Length: ${size}`]);
  const before = cpuMicroseconds(contestant.pid);
  const upload = kind === 'upload' ? size : 0;
  const done = await runTransfers({ port: contestant.port, isTls: false, head, upload, download: size }, milliseconds);
  return {
    [`${kind}: MB/s`]: done.bytes / 1e6 / done.seconds,
    [`${kind}: CPU ms per 100 MB`]: (cpuMicroseconds(contestant.pid) - before) / 1000 / (done.bytes / 1e8),
  };
}

async function messages(
  subject: Subject,
  size: string,
  bytes: number,
  milliseconds: number,
): Promise<Record<string, number>> {
  const sockets = await openWebSockets(subject, 16);
  const before = cpuMicroseconds(subject.contestant.pid);
  const frames = await runEcho(sockets, makeFrame(bytes), milliseconds);
  const each = (cpuMicroseconds(subject.contestant.pid) - before) / frames;
  for (const socket of sockets) socket.destroy();
  return { [`WebSocket message of ${size}: CPU µs`]: each };
}

function openWebSockets(subject: Subject, count: number): Promise<Socket[]> {
  const { contestant } = subject;
  const head = headOf(subject, `GET ${contestant.prefix}api/kernels/1/channels`, false, [
    `Origin: http://127.0.0.1:${contestant.port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ]);
  return Promise.all(Array.from({ length: count }, () => openWebSocket(contestant.port, false, head)));
}

/** At idle, before and after many WebSockets that nobody speaks on. */
export async function measureMemory(subject: Subject, count: number): Promise<Row[]> {
  const { contestant } = subject;
  const megabytes = (bytes: number): number => bytes / 1e6;
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const idle = memoryBytes(contestant.pid);
  const sockets: Socket[] = [];
  while (sockets.length < count) sockets.push(...(await openWebSockets(subject, 100)));
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const busy = memoryBytes(contestant.pid);
  for (const socket of sockets) socket.destroy();
  const rows = [
    { what: 'memory, idle: MB (PSS)', who: contestant.name, value: megabytes(idle) },
    { what: `memory with ${count} idle WebSockets: MB (PSS)`, who: contestant.name, value: megabytes(busy) },
    {
      what: 'memory per 1000 idle WebSockets: MB',
      who: contestant.name,
      value: (megabytes(busy - idle) * 1000) / count,
    },
  ];
  for (const { what, value } of rows) console.error(`  ${contestant.name}: ${what}: ${value.toFixed(1)}`);
  return rows;
}

/** One line per figure, one column per proxy; the last columns are hub-proxy's part of two of them. */
export function showTable(rows: readonly Row[]): void {
  const names = [...new Set(rows.map(({ who }) => who))];
  const figureOf = (what: string, who: string): number | undefined =>
    rows.find((row) => row.what === what && row.who === who)?.value;
  const columns = names.map((name) => (name === 'configurable-http-proxy' ? 'chp' : name).padStart(11)).join('');
  console.log(`${''.padEnd(46)}${columns}${'ours/chp'.padStart(10)}${'ours/nginx'.padStart(11)}`);
  for (const what of new Set(rows.map((row) => row.what))) {
    const cells = names.map((name) => (figureOf(what, name)?.toFixed(1) ?? '-').padStart(11)).join('');
    const ours = figureOf(what, 'hub-proxy');
    const ratio = (other: string): string => {
      const theirs = figureOf(what, other);
      return ours === undefined || theirs === undefined ? '-' : (ours / theirs).toFixed(2);
    };
    console.log(
      `${what.padEnd(46)}${cells}${ratio('configurable-http-proxy').padStart(10)}${ratio('nginx').padStart(11)}`,
    );
  }
}
