import { text } from 'node:stream/consumers';
import { installDeb, PAM_LOGIN } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { orderServer } from '../lib/server-order.js';
import { median } from './figures.js';
import { cpuOf, memoryOf } from './unit-figures.js';

const DAEMONS = ['hub.service', 'hub-spawner.service', 'hub-proxy.service', 'dbus.service', 'init.scope'];
/** So many starts are asked for at once; the hub lets eight of them go. */
const ASKED_AT_ONCE = 64;
const SETTLE_MS = 30_000;
const IDLE_MS = 60_000;

/** A server that is ready at once, says as a real one that nothing is at work in it, and then sleeps. */
const STUB = `#!/bin/sh
exec systemd-notify --ready --status="Idle since $(date -u +%Y-%m-%dT%H:%M:%SZ)" --exec \\; sleep infinity
`;

/** Users without a password; nobody has to log in as them. */
const MAKE_USERS = `
import sqlite3, sys
base = sqlite3.connect('/var/lib/metalhub/hub/hub.sqlite')
for number in range(int(sys.argv[1])):
    name = f'user{number}'
    base.execute('INSERT INTO users (login_method, name, key, admin, created_ms) VALUES (?, ?, ?, 0, 0)', ('pam', name, name))
base.commit()
`;

/** So many servers that nobody uses: what the daemons need, and how long it takes to look at them. */
export async function measureIdle(count: number): Promise<void> {
  await using machine = await bootMachine({ image: 'jupyterhub' });
  await installDeb(machine);
  await machine.writeFile('/opt/stub/python', STUB, 0o755);
  await machine.writeFile(
    '/etc/metalhub/metalhub.toml',
    `${PAM_LOGIN}\n[[profile]]\nname = "default"\npython = "/opt/stub/python"\n`,
  );
  await machine.run(['hubctl', 'apply']);
  await machine.run(['systemctl', 'stop', 'hub.service']);
  await machine.run(['python3', '-c', MAKE_USERS, String(count + 1)]);
  await machine.run(['systemctl', 'start', 'hub.service']);
  const socketPath = await machine.path('/run/metalhub/admin.sock');
  console.log(`\n${count} servers that nobody uses (a stub; one user each)`);
  await startMany(socketPath, count);
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  await reportDaemons(machine);
  await reportCommands(machine, socketPath, count);
}

async function startMany(socketPath: string, count: number): Promise<void> {
  const waiting = Array.from({ length: count }, (_, index) => `user${index}`);
  const begin = performance.now();
  const run = async (): Promise<void> => {
    for (let user = waiting.shift(); user !== undefined; user = waiting.shift()) await ask(socketPath, 'start', user);
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, run));
  const ms = performance.now() - begin;
  console.log(`  all started in ${(ms / 1000).toFixed(1)} s, ${(ms / count).toFixed(1)} ms each`);
}

async function reportDaemons(machine: Machine): Promise<void> {
  const before = await Promise.all(DAEMONS.map((unit) => cpuOf(machine, unit)));
  await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
  console.log('                        CPU ms per minute   MB (PSS)');
  for (const [index, unit] of DAEMONS.entries()) {
    const ms = (await cpuOf(machine, unit)) - (before[index] ?? Number.NaN);
    const mb = await memoryOf(machine, [unit]);
    console.log(`  ${unit.padEnd(22)}${ms.toFixed(0).padStart(17)}${mb.toFixed(1).padStart(11)}`);
  }
}

async function reportCommands(machine: Machine, socketPath: string, count: number): Promise<void> {
  const report = (what: string, times: readonly number[]): void => {
    console.log(`  ${what.padEnd(46)}${median(times).toFixed(0).padStart(7)} ms`);
  };
  report('hubctl --version', await timesOf(machine, 'hubctl --version'));
  report('hubctl servers', await timesOf(machine, 'hubctl servers'));
  report('hubctl servers --json', await timesOf(machine, 'hubctl servers --json'));
  const user = `user${count}`;
  const starts: number[] = [];
  const stops: number[] = [];
  for (let round = 0; round < 5; round++) {
    starts.push(await timed(() => ask(socketPath, 'start', user)));
    stops.push(await timed(() => ask(socketPath, 'stop', user)));
  }
  report('one more start', starts);
  report('its stop', stops);
  // Until the hub knows again which of its servers run.
  const known = `until hubctl status --json | grep -q '"ready": *${count}\\b'; do sleep 0.05; done`;
  const spawnerBefore = await cpuOf(machine, 'hub-spawner.service');
  report(
    'restart of the hub until it knows them',
    await timesOf(machine, `systemctl restart hub.service; ${known}`, 3),
  );
  console.log(
    `    CPU of hub-spawner for it: ${(((await cpuOf(machine, 'hub-spawner.service')) - spawnerBefore) / 3).toFixed(0)} ms`,
  );
  report('restart of hub-spawner until it answers', await timesOf(machine, 'systemctl restart hub-spawner.service', 3));
}

/** Milliseconds that a piece of shell takes in the machine, each time. */
async function timesOf(machine: Machine, script: string, rounds = 7): Promise<number[]> {
  const loop = `for round in $(seq ${rounds}); do begin=$(date +%s%N); { ${script}; } >/dev/null; echo $(( ($(date +%s%N) - begin) / 1000000 )); done`;
  return (await machine.shell(loop, { timeoutMs: 300_000 })).trim().split('\n').map(Number);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

/** Until it is over. @throws when the server did not start */
async function ask(socketPath: string, action: 'start' | 'stop', user: string): Promise<void> {
  const said = await text(await orderServer(socketPath, action, { user }));
  const last = said.trimEnd().split('\n').at(-1) ?? '';
  if (action === 'start' && !last.includes('"ready":true')) throw new Error(`${user} was not started: ${last}`);
}
