import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LoadOrder, LoadReport } from '../restart-load/main.js';
import type { Target } from '../restart-load/target.js';
import type { Machine } from './machine.js';
import { TicketMaker } from './test-ticket.js';

const LOAD = new URL('../restart-load/', import.meta.url);
const USER = 'load';
const PREFIX = `/user/${USER}/`;
const SOCKET = `/run/metalhub/servers/${USER}.sock`;
const CONTROL = '/run/metalhub/proxy.sock';
export const SESSION_ID = 'a'.repeat(32);

/** What the route API on the control socket answers. @throws when it refuses */
export async function control(machine: Machine, method: string, path: string, body?: unknown): Promise<string> {
  const data = body === undefined ? [] : ['-H', 'content-type: application/json', '--data-binary', '@-'];
  return machine.run(
    ['curl', '-sS', '--fail-with-body', '--unix-socket', CONTROL, '-X', method, ...data, `http://proxy${path}`],
    { input: body === undefined ? '' : JSON.stringify(body) },
  );
}

/**
 * Puts a server behind the proxy that answers fast enough to be no bottleneck: a real unit on a socket of systemd's, with a
 * real route and a ticket for it. The hub is shut away: it would take the route for a left-over and remove it.
 */
export async function serveLoad(machine: Machine): Promise<Omit<Target, 'port' | 'host' | 'origin'>> {
  await machine.run(['systemctl', 'mask', '--runtime', '--now', 'hub.socket', 'hub-admin.socket', 'hub.service']);
  await machine.writeFile('/opt/load/package.json', '{"type":"module"}');
  for (const name of ['upstream.js', 'frames.js', 'pattern.js']) {
    await machine.writeFile(`/opt/load/${name}`, readFileSync(new URL(name, LOAD)));
  }
  const socket = [`ListenStream=${SOCKET}`, 'SocketMode=0660', 'SocketGroup=metalhub-proxy', 'Backlog=4096'];
  await machine.run([
    'systemd-run',
    '--unit=load-upstream',
    '--property=LimitNOFILE=65536',
    ...socket.map((property) => `--socket-property=${property}`),
    '/usr/bin/node',
    '/opt/load/upstream.js',
  ]);
  const tickets = new TicketMaker();
  await control(machine, 'PUT', '/api/keys', tickets.publicKeys);
  await addLoadRoute(machine);
  return { prefix: PREFIX, cookie: tickets.cookie(USER, SESSION_ID) };
}

export async function addLoadRoute(machine: Machine): Promise<void> {
  const target = `unix+http://${encodeURIComponent(SOCKET)}`;
  await control(machine, 'POST', `/api/routes${PREFIX}`, { target, auth: 'ticket', user: USER, server: '' });
}

/** A load that runs; in the machine's network when `machine.enterNetwork()` was called before. */
export interface RunningLoad {
  /** Transfers finish as fast as they can, the rest stops; then what was seen. */
  end(): Promise<LoadReport>;
}

const loads = new Set<ChildProcess>();

/** Ends the loads that a failed test left behind. */
export function endLoads(): void {
  for (const load of loads) load.kill('SIGKILL');
}

export async function startLoad(order: LoadOrder): Promise<RunningLoad> {
  const child = fork(fileURLToPath(new URL('main.js', LOAD)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  loads.add(child);
  child.once('exit', () => loads.delete(child));
  child.send(order);
  await nextMessage(child);
  return {
    end: async () => {
      child.send('end');
      return (await nextMessage(child)) as LoadReport;
    },
  };
}

async function nextMessage(child: ChildProcess): Promise<unknown> {
  const stop = new AbortController();
  const gone = once(child, 'exit', { signal: stop.signal }).then(() => {
    throw new Error('the load ended unexpectedly');
  });
  gone.catch(() => undefined); // aborted when the message came first
  try {
    const [message] = await Promise.race([once(child, 'message', { signal: stop.signal }), gone]);
    return message;
  } finally {
    stop.abort();
  }
}
