import { request } from 'node:http';
import t from 'tap';
import { PAM_LOGIN } from '../lib/deb.js';
import type { Machine } from '../lib/machine.js';
import { bootWithAnna, until } from '../lib/server-start.js';

const STARTS = 200;
const AT_ONCE = 8;

/** A server as small as one can be: ready at once, and gone when it is told to. */
const STUB = `#!/usr/bin/python3 -I
import os, signal, socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.sigwait([signal.SIGTERM])
`;

t.setTimeout(600_000);

let machine: Machine;

t.before(async () => {
  ({ machine } = await bootWithAnna());
  await machine.writeFile('/opt/stub/python', STUB, 0o755);
  const profile = '[[profile]]\nname = "stub"\npython = "/opt/stub/python"\ntasks_max = 16384';
  const server = `[server]\nconcurrent_starts = ${AT_ONCE}`;
  await machine.writeFile('/etc/metalhub/metalhub.toml', `${PAM_LOGIN}\n${server}\n${profile}\n`);
  await machine.run(['hubctl', 'apply']);
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=100']));
  await machine?.stop();
});

/** Asks for a start, as hubctl does, and resolves when the hub has taken it. */
async function ask(socketPath: string, server: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const sent = request({ socketPath, method: 'POST', path: '/admin/servers/start' }, (response) => {
      resolve(response.statusCode ?? 0);
      // Broken off when the hub is killed.
      response.on('error', () => undefined).resume();
    });
    sent.setHeader('content-type', 'application/json');
    sent.on('error', reject);
    sent.end(JSON.stringify({ user: 'anna', server }));
  });
}

async function states(): Promise<Map<string, string>> {
  const { servers } = JSON.parse(await machine.run(['hubctl', 'servers', '--json'])) as {
    servers: { name: string; state: string }[];
  };
  return new Map(servers.map(({ name, state }) => [name, state]));
}

async function units(state: string): Promise<string[]> {
  const list = ['systemctl', 'list-units', '--plain', '--no-legend', `--state=${state}`, 'jupyter-*.service'];
  const lines = (await machine.run(list)).split('\n').filter((line) => line !== '');
  return lines.map((line) => line.split(' ', 1)[0] ?? '');
}

t.test(
  'S11: two hundred starts at once, then the hub is killed: so many at a time, all run, none is unknown',
  async (t) => {
    const socket = await machine.path('/run/metalhub/admin.sock');
    const names = Array.from({ length: STARTS }, (_, index) => `s${index}`);
    const taken = await Promise.all(names.map((name) => ask(socket, name)));
    t.same([...new Set(taken)], [200], 'all are taken');
    await machine.run(['systemctl', 'kill', '--signal=KILL', 'hub.service']);
    let most = 0;
    const isOver = async (): Promise<boolean> => {
      most = Math.max(most, (await units('activating')).length);
      const known = await states();
      return names.every((name) => known.get(name) === 'ready' || known.get(name) === 'failed');
    };
    await until('all have started or failed', isOver, 120_000);
    const known = await states();
    t.same(
      names.filter((name) => known.get(name) !== 'ready'),
      [],
      'none has failed',
    );
    // Those that the spawner was working on when the hub was killed, and the first ones of the next hub.
    t.ok(most <= 2 * AT_ONCE, `at most ${most} at a time`);
    t.same((await units('active')).sort(), names.map((name) => `jupyter-anna:${name}.service`).sort());
    t.notMatch(await machine.run(['journalctl', '--no-pager', '-t', 'hub']), 'the database knows nothing of');
  },
);
