import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from './figures.js';
import {
  type Contestant,
  type Surroundings,
  startCaddy,
  startChp,
  startHaproxy,
  startNginx,
} from './proxy/contestants.js';
import { makeTicket, startHubProxy } from './proxy/hub-proxy.js';
import { measureRoutes, ROUTES_PRESENT } from './proxy/routes.js';
import {
  MEASUREMENTS,
  measureBrowserRequest,
  measureMemory,
  type Row,
  type Subject,
  showTable,
  warmUp,
} from './proxy/rows.js';
import { startUpstream } from './proxy/upstream.js';

/**
 * hub-proxy beside configurable-http-proxy, nginx, HAProxy and Caddy, each on one core of its own while this process,
 * which is the clients and the server behind them, has the other. Prints, judges nothing.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    programs: { type: 'string', default: 'build/lib' },
    chp: { type: 'string', default: '' },
    flags: { type: 'string', default: '' },
    core: { type: 'string', default: '0' },
    only: { type: 'string', default: '' },
  },
});

/** As many as descriptors allow where their number is bounded at 20,000: each needs one in a proxy for either side. */
const IDLE_WEBSOCKETS = 9500;
const ROUTES = 10_000;

function makeSurroundings(): Surroundings {
  const directory = mkdtempSync(join(tmpdir(), 'bench-proxy-'));
  const [certificate, key] = [join(directory, 'certificate.pem'), join(directory, 'key.pem')];
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${certificate}`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  );
  return {
    directory,
    upstreamPath: join(directory, 'upstream.sock'),
    core: Number(values.core),
    certificate,
    key,
    chpProgram: values.chp,
  };
}

const isWanted = (name: string): boolean => positionals.length === 0 || positionals.includes(name);
const isAsked = (contestant: string): boolean =>
  values.only === '' || values.only.split(',').some((part) => contestant.toLowerCase().includes(part));

type Starter = readonly [string, () => Promise<Contestant>];

/** All run at once and are measured in turn, so that a machine that slows down does so for all of them. */
async function inTurn(starters: readonly Starter[], cookie: string, isTls: boolean): Promise<Row[]> {
  const wanted = MEASUREMENTS.filter(({ name }) => isWanted(name) && (name === 'tls') === isTls);
  if (wanted.length === 0) return [];
  const subjects: Subject[] = [];
  for (const [, start] of starters) {
    const subject = { contestant: await start(), cookie };
    await warmUp(subject);
    subjects.push(subject);
  }
  const rounds = values.quick ? 1 : 3;
  const milliseconds = values.quick ? 1000 : 1500;
  const figures = new Map<string, Map<string, number[]>>();
  for (const { run, isFor } of wanted) {
    for (let round = 0; round < rounds; round++) {
      for (const subject of subjects.filter(({ contestant }) => isFor(contestant))) {
        for (const [what, value] of Object.entries(await run(subject, milliseconds))) {
          const who = subject.contestant.name;
          const byWho = figures.get(what) ?? new Map<string, number[]>();
          figures.set(what, byWho.set(who, [...(byWho.get(who) ?? []), value]));
        }
      }
    }
  }
  for (const { contestant } of subjects) await contestant.stop();
  return [...figures].flatMap(([what, byWho]) => [...byWho].map(([who, all]) => ({ what, who, value: median(all) })));
}

/** Each alone, since of what two processes share each is counted half; and freshly started, without what requests leave behind. */
async function oneByOne(starters: readonly Starter[], cookie: string): Promise<Row[]> {
  if (!isWanted('memory')) return [];
  const rows: Row[] = [];
  for (const [, start] of starters) {
    const subject = { contestant: await start(), cookie };
    try {
      rows.push(...(await measureMemory(subject, values.quick ? 1000 : IDLE_WEBSOCKETS)));
    } catch (error) {
      console.error(`${subject.contestant.name}: no figures for memory: ${error}`);
    }
    await subject.contestant.stop();
  }
  return rows;
}

/** With 10,000 routes: added, listed and removed where that is possible, else as part of the configuration. */
async function withRoutes(starters: readonly Starter[], around: Surroundings, cookie: string): Promise<Row[]> {
  if (!isWanted('routes')) return [];
  const rows: Row[] = [];
  const count = values.quick ? 1000 : ROUTES;
  const start = new Map([...starters, ['nginx', () => startNginx(around, count)] as const]);
  for (const [name] of starters) {
    if (!['hub-proxy', 'configurable-http-proxy', 'nginx'].includes(name)) continue;
    const contestant = await start.get(name)?.();
    if (contestant === undefined) continue;
    const subject = { contestant, cookie };
    await warmUp(subject);
    const whilePresent = (): Promise<number> => measureBrowserRequest(subject, values.quick ? 1000 : 3000);
    if (contestant.routes === undefined) {
      rows.push({ what: ROUTES_PRESENT, who: contestant.name, value: await whilePresent() });
    } else rows.push(...(await measureRoutes(contestant, contestant.routes, { count, whilePresent })));
    await contestant.stop();
  }
  return rows;
}

async function main(): Promise<void> {
  const begin = performance.now();
  const around = makeSurroundings();
  const upstream = await startUpstream(around.upstreamPath);
  const ticket = makeTicket();
  const plain: Starter[] = [
    [
      'hub-proxy',
      () =>
        startHubProxy(around, {
          programs: values.programs,
          ticket,
          nodeFlags: values.flags.split(' ').filter(Boolean),
        }),
    ],
    ['configurable-http-proxy', () => startChp(around, false)],
    ['nginx', () => startNginx(around)],
    ['haproxy', () => startHaproxy(around)],
    ['caddy', () => startCaddy(around)],
  ];
  const starters = plain.filter(([name]) => isAsked(name));
  const encrypted: Starter[] = plain.map(([name, start]) => {
    if (name === 'hub-proxy')
      return [name, () => startHubProxy(around, { programs: values.programs, ticket, isTls: true })];
    return [name, name === 'configurable-http-proxy' ? () => startChp(around, true) : start];
  });
  console.log(`load before: ${readFileSync('/proc/loadavg', 'utf8').trim()}`);
  const rows = await inTurn(starters, ticket.cookie, false);
  const encryptedStarters = encrypted.filter(([name]) => isAsked(name));
  rows.push(...(await inTurn(encryptedStarters, ticket.cookie, true)));
  rows.push(...(await oneByOne(starters, ticket.cookie)));
  rows.push(...(await withRoutes(starters, around, ticket.cookie)));
  showTable(rows);
  console.log(
    `load after: ${readFileSync('/proc/loadavg', 'utf8').trim()}; took ${((performance.now() - begin) / 1000).toFixed(0)} s`,
  );
  upstream.close();
  process.exit(0);
}

await main();
