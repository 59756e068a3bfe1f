import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { LoadOrder, LoadReport } from '../restart-load/main.js';
import type { Target } from '../restart-load/target.js';
import { installDeb } from './deb.js';
import type { Machine } from './machine.js';
import { makeNextDeb, NEXT_VERSION } from './next-deb.js';
import { unitProperty, until } from './server-start.js';

/** METALHUB_RESTARTS_<NAME> in the environment changes a size. */
function size(name: string, usual: number): number {
  return Number(process.env[`METALHUB_RESTARTS_${name}`] ?? usual);
}
export const RESTARTS = size('COUNT', 50);
/** Time for a file of such tests, milliseconds. */
export const TIMEOUT_MS = 1_000_000 + RESTARTS * 8000;
export const RELOADS = size('RELOADS', 5);
export const WEBSOCKETS = size('WEBSOCKETS', 500);
export const TRANSFER_BYTES = size('TRANSFER_BYTES', 2 * 2 ** 30);
/** Slow enough to be under way all the time; at the end it goes as fast as it can. */
const TRANSFER_RATE = size('TRANSFER_RATE', 4 * 2 ** 20);

export function loadOrder(target: Target, changes: Partial<LoadOrder> = {}): LoadOrder {
  const nothing = { sockets: 0, clients: false, pausing: 0, transferBytes: 0 };
  return { target, messagesPerSecond: 1, maxPauseMs: 8000, transferRate: TRANSFER_RATE, ...nothing, ...changes };
}

/** One generation, as `hubctl proxy status --json` reports it. */
export interface WorkerReport {
  readonly generation: number;
  readonly pid: number;
  readonly draining: boolean;
  readonly connections: number;
  readonly tunnels: number;
  readonly memory_bytes: number;
}

/** Oldest last. */
export async function workersOf(machine: Machine): Promise<WorkerReport[]> {
  const status = JSON.parse(await machine.run(['hubctl', 'proxy', 'status', '--json'])) as {
    generations: WorkerReport[];
  };
  return status.generations;
}

export async function supervisorPid(machine: Machine): Promise<number> {
  return Number(await unitProperty(machine, 'hub-proxy.service', 'MainPID'));
}

export function assertNothingLost(t: Test, { sockets, requests, transfers }: LoadReport): void {
  const { failures, times, ...counts } = sockets;
  t.same(failures, [], 'no WebSocket message lost, repeated, reordered or changed');
  t.match(counts, { closed: 0, echoed: counts.sent }, `${counts.open} WebSockets are open`);
  if (counts.sent > 0) t.comment(`${counts.echoed} messages: ${JSON.stringify(times)} ms`);
  for (const [name, report] of Object.entries(requests)) {
    t.same(report.failures, [], `no request failed or was refused: ${name}`);
    t.comment(`${name}: ${JSON.stringify({ ...report, failures: report.failures.length })}`);
  }
  t.ok(
    Object.values(requests).every(({ closedIdle }) => closedIdle === 0),
    'no idle connection was closed',
  );
  for (const { failure, bytes, seconds } of transfers) {
    t.equal(failure, undefined, `every one of ${bytes} bytes of a transfer is right, after ${seconds} s`);
  }
}

/** @returns how many seconds it took */
export async function repeat(t: Test, machine: Machine, command: string, count: number): Promise<number> {
  const loop = `for _ in $(seq ${count}); do s=$(date +%s%N); ${command}; echo $(( ($(date +%s%N) - s) / 1000000 )); done`;
  const took = (await machine.shell(loop, { timeoutMs: 300_000 + count * 8000 })).trim().split('\n').map(Number);
  const sum = took.reduce((a, b) => a + b, 0);
  t.comment(`${command}: ${took.length} times, slowest ${Math.max(...took)} ms, ${sum} ms in all`);
  return sum / 1000;
}

/** Installs a newer version of the package and waits until its proxy serves. */
export async function upgrade(t: Test, machine: Machine): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'restarts-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const next = makeNextDeb(directory);
  const before = await supervisorPid(machine);
  await installDeb(machine, next);
  t.equal(await machine.run(['dpkg-query', '--show', 'metalhub']), `metalhub\t${NEXT_VERSION}\n`);
  await until('another supervisor', async () => ![0, before].includes(await supervisorPid(machine)));
  await untilActive(machine);
}

export function untilActive(machine: Machine): Promise<void> {
  return until('it serves', async () => (await machine.exec(['systemctl', 'is-active', 'hub-proxy'])).code === 0);
}

/** A worker that hung on a busy host is looked for again for two minutes; an idle connection may stay for 75 s. */
const LEFT_BEHIND_MS = 200_000;

/** Connections that a proxy leaves behind end by themselves; so do their workers. */
export async function untilOneWorker(machine: Machine): Promise<void> {
  let seen: WorkerReport[] = [];
  const isOne = async (): Promise<boolean> => {
    seen = await workersOf(machine);
    return seen.length === 1;
  };
  await until('the earlier generations are gone', isOne, LEFT_BEHIND_MS).catch((error: unknown) => {
    throw new Error(`${String(error)}: ${JSON.stringify(seen)}`);
  });
}
