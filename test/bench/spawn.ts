import { parseArgs } from 'node:util';
import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { start } from '../lib/server-start.js';
import { median } from './figures.js';
import { JUPYTERHUB_UNIT, startJupyterhub } from './jupyterhub.js';
import { measureIdle } from './spawn-idle.js';
import { compareStarts, logInAll, prepareStarts, USERS } from './spawn-starts.js';
import { memoryOf } from './unit-figures.js';

/**
 * From the press of Start until the server answers, beside bare jupyter-lab processes and Debian's JupyterHub, in turn on one
 * machine: one, ten and thirty at once; what the daemons of both hubs need when nobody works; a thousand servers that nobody
 * uses. Prints, judges nothing.
 */
const WHAT = ['one', 'ten', 'thirty', 'memory', 'idle'] as const;
const COUNTS = { one: 1, ten: 10, thirty: 30 } as const;
const DAEMONS = ['hub.service', 'hub-proxy.service', 'hub-spawner.service'];
/** hub-spawner leaves a minute after the last request. */
const AT_REST_MS = 75_000;

/**
 * Gives the machine its own copy of Node and of the libraries it maps: pages of the image would be shared with every Node
 * that this computer runs at the time, and the proportional size would be too good by as much.
 */
const OWN_FILES = `
files=$(for pid in $(systemctl show --property=MainPID --value hub.service hub-proxy.service); do awk '$6 ~ /^\\/usr/ { print $6 }' /proc/$pid/maps; done | sort -u)
for file in $files; do cp -a "$file" "$file.own" && mv "$file.own" "$file"; done
systemctl daemon-reexec
systemctl restart hub.service hub-proxy.service`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { rounds: { type: 'string', default: '5' }, units: { type: 'string', default: '1000' } },
  });
  const unknown = positionals.find((word) => !WHAT.some((what) => what === word));
  if (unknown !== undefined) throw new Error(`${unknown}: none of ${WHAT.join(' ')}`);
  const wanted = WHAT.filter((what) => positionals.length === 0 || positionals.includes(what));
  if (wanted.some((what) => what !== 'idle')) await compare(wanted, Number(values.rounds));
  if (wanted.includes('idle')) await measureIdle(Number(values.units));
}

async function compare(wanted: readonly (typeof WHAT)[number][], rounds: number): Promise<void> {
  await using machine = await bootMachine({ image: 'jupyterhub' });
  await installDeb(machine);
  await machine.shell(OWN_FILES);
  await prepareStarts(machine);
  await machine.enterNetwork();
  await startJupyterhub(machine, USERS);
  const visitors = await logInAll();
  for (const what of ['one', 'ten', 'thirty'] as const) {
    // The more at once, the less one round differs from the next.
    if (wanted.includes(what))
      await compareStarts(machine, visitors, COUNTS[what], what === 'one' ? rounds : Math.ceil(rounds / 2));
  }
  if (!wanted.includes('memory')) return;
  await idleMemory(machine);
  const [visitor] = visitors;
  if (visitor !== undefined) await start(visitor, USERS[0] ?? '');
  await exposure(machine);
}

async function idleMemory(machine: Machine): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, AT_REST_MS));
  const samples = { metalhub: [] as number[], jupyterhub: [] as number[] };
  for (let round = 0; round < 3; round++) {
    samples.metalhub.push(await memoryOf(machine, DAEMONS));
    samples.jupyterhub.push(await memoryOf(machine, [JUPYTERHUB_UNIT]));
  }
  const [ours, theirs] = [median(samples.metalhub), median(samples.jupyterhub)];
  console.log(
    `\nmemory of all daemons at idle, MB (PSS): metalhub ${ours.toFixed(0)}, JupyterHub and its proxy ${theirs.toFixed(0)}`,
  );
  console.log(`ratio ${(ours / theirs).toFixed(2)}`);
  // Its proxy is a Node too, and takes a quarter of the shared pages on itself: without it nobody does.
  await machine.run(['systemctl', 'stop', JUPYTERHUB_UNIT]);
  console.log(`without JupyterHub on the machine: ${(await memoryOf(machine, DAEMONS)).toFixed(0)}`);
  for (const unit of ['hub.service', 'hub-proxy.service']) {
    console.log(`  ${unit.padEnd(20)}${(await memoryOf(machine, [unit])).toFixed(1)}`);
  }
  const active = ['systemctl', 'list-units', '--plain', '--no-legend', '--state=active', '--type=service', 'hub*'];
  const names = (await machine.run(active))
    .trim()
    .split('\n')
    .map((line) => line.split(' ')[0]);
  console.log(`running: ${names.join(', ')}`);
}

/** What systemd-analyze finds in each unit as it is loaded: 0.0 (nothing to reach) to 10.0. */
async function exposure(machine: Machine): Promise<void> {
  console.log('\nexposure by systemd-analyze security');
  const units = ['hub-proxy', 'hub', 'hub-spawner', 'hub-pam@bench', 'hub-logs@bench', `jupyter-${USERS[0]}`];
  for (const unit of units) {
    const report = await machine.run(['systemd-analyze', 'security', '--no-pager', `${unit}.service`]);
    console.log(`  ${unit.padEnd(20)}${/exposure level for \S+: ([0-9.]+)/.exec(report)?.[1] ?? '?'}`);
  }
}

await main();
