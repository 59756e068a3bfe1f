import { type ChildProcess, fork } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LoadOrder, LoadReport } from '../restart-load/main.js';
import type { Target } from '../restart-load/target.js';
import type { Machine } from './machine.js';

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
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { x } = publicKey.export({ format: 'jwk' });
  await control(machine, 'PUT', '/api/keys', { keys: [{ kty: 'OKP', crv: 'Ed25519', x, kid: 'load' }] });
  await addLoadRoute(machine);
  return { prefix: PREFIX, cookie: `metalhub-ticket=${makeTicket(privateKey)}` };
}

export async function addLoadRoute(machine: Machine): Promise<void> {
  const target = `unix+http://${encodeURIComponent(SOCKET)}`;
  await control(machine, 'POST', `/api/routes${PREFIX}`, { target, auth: 'ticket', user: USER, server: '' });
}

function makeTicket(key: KeyObject): string {
  const nowSec = Math.floor(Date.now() / 1000);
  const claims = { type: 'ticket', user: USER, server: '', path: PREFIX, session_id: SESSION_ID };
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'EdDSA', kid: 'load' })}.${encode({ ...claims, iat: nowSec, exp: nowSec + 43_200 })}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

/** A load that runs; in the machine's network when `machine.enterNetwork()` was called before. */
export interface RunningLoad {
  /** Transfers finish as fast as they can, the rest stops; then what was seen. */
  end(): Promise<LoadReport>;
}

export async function startLoad(order: LoadOrder): Promise<RunningLoad> {
  const child = fork(fileURLToPath(new URL('main.js', LOAD)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
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
