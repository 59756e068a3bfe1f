import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SECOND_MS, systemClock } from '@metalhub/base/time.js';
import { createControlApi } from '../control-api.js';
import type { Settings } from '../settings.js';
import { StateStore } from '../state-store.js';
import { Supervisor } from '../supervisor.js';
import { formatTarget } from '../target.js';
import { makeListenFd } from './listen-fd.js';
import { ask, openClient, statusOf, TestLog } from './proxy.js';
import { makeHubKey, ticketClaims } from './tickets.js';
import { ok, startUpstream } from './upstream.js';

/** The workers are processes of their own, from the compiled files. */
export const WORKER = fileURLToPath(new URL('../worker-main.js', import.meta.url));
/** See late-worker.ts. */
export const LATE_WORKER = fileURLToPath(new URL('late-worker.js', import.meta.url));

interface ControlAnswer {
  status: number;
  body: string;
}

/** A supervisor with its control API, all in one directory. A second one on the same directory is its successor. */
export async function startSupervisor(
  directory: string,
  listenFd: number,
  { maxGenerations = 64, workers = 1, workerProgram = WORKER, basePath = '' } = {},
) {
  const log = new TestLog();
  const allowed = { hubSocketPath: join(directory, 'hub.sock'), serversDirectory: directory };
  mkdirSync(join(directory, 'state'), { recursive: true });
  const store = StateStore.open(join(directory, 'state', 'state.json'), log);
  const settings: Settings = {
    hosts: ['127.0.0.1', 'localhost'],
    public_origin: 'http://localhost',
    public_host: 'localhost',
    is_secure: false,
    drain_timeout_ms: 60_000,
    hub_socket_path: allowed.hubSocketPath,
    base_path: basePath,
  };
  const limits = { settings, workers, maxGenerations, maxMemoryBytes: 2 ** 40 };
  const supervisor = new Supervisor(
    {
      workerProgram,
      generationDirectory: join(directory, 'gen'),
      listenFds: [listenFd],
      clock: systemClock,
      log,
      state: store,
    },
    limits,
  );
  await supervisor.adopt();
  const isServed = await supervisor.isServed();
  await supervisor.start();
  const rules = () => ({ allowed, hubPrefix: `${basePath}/`, hasForeignHub: false, hostRouting: false });
  const api = createControlApi({ store, supervisor, rules, log, clock: systemClock, version: '0.0.0' });
  const control = join(directory, 'control.sock');
  await api.listen({ path: control });
  return {
    supervisor,
    isServed,
    limits,
    log,
    target: (name: string) => formatTarget({ kind: 'unix', path: join(directory, name) }),
    call: (method: string, path: string, body?: unknown) => call(control, method, path, body),
    leave: async () => {
      supervisor.leave();
      await api.close();
    },
  };
}

function call(socketPath: string, method: string, path: string, body?: unknown): Promise<ControlAnswer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json' };
    const outgoing = request({ socketPath, method, path, agent: false, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => (text += piece));
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
    });
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n';

/** A server of anna's, and what a visitor with her ticket does. */
export async function setUp(t: { teardown(end: () => Promise<void> | void): void }) {
  const directory = mkdtempSync(join(tmpdir(), 'supervisor-'));
  const listening = makeListenFd();
  const server = await startUpstream(join(directory, 'anna.sock'), (head, socket) => {
    if (!head.includes('/ws')) return void socket.write(ok('fine'));
    socket.write(SWITCH);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  const key = await makeHubKey();
  const nowSec = Math.floor(Date.now() / SECOND_MS);
  const cookie = `Cookie: metalhub-ticket=${await key.sign(ticketClaims(nowSec))}`;
  const origin = `Origin: http://127.0.0.1:${listening.port}`;
  t.teardown(async () => {
    await server.close();
    listening.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const openTunnel = async () => {
    const head = [
      'GET /user/anna/ws HTTP/1.1',
      `Host: 127.0.0.1:${listening.port}`,
      cookie,
      origin,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Key: eA==',
      '',
      '',
    ];
    const client = openClient(listening.port, head.join('\r\n'));
    await client.waitFor('101');
    return client;
  };
  const get = async () => statusOf(await ask(listening.port, 'GET /user/anna/x', [cookie]));
  return { directory, listening, key, nowSec, openTunnel, get };
}

/** Whether there is such a process, which may have ended and not been looked at yet. */
export function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Asks again and again. @throws when it takes half a minute */
export async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries === 600) throw new Error('it did not come to that');
    await sleep(50);
  }
}
