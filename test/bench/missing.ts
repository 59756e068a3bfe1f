import { loadavg } from 'node:os';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { fieldOf, readEvents, Visitor } from '../lib/visitor.js';
import { median, spread } from './figures.js';

/**
 * From the press of Start until the page hears that no Jupyter is installed, and when it hears of the steps before. Once
 * with hub-spawner away, as a program would meet it, and once with it there, as it is for those who come by the page.
 */
const ROUNDS = Number(process.argv[2] ?? 10);
const MAX_MS = 1000;
const PACKAGES = '/usr/lib/python3/dist-packages';

interface Round {
  readonly totalMs: number;
  /** Milliseconds from the press of Start, by the stage that was told then. */
  readonly stages: ReadonlyMap<string, number>;
}

async function failOnce(machine: Machine, visitor: Visitor, spawner: 'away' | 'there'): Promise<Round> {
  const home = await visitor.navigate('/hub/home');
  const csrf = fieldOf(home.text, 'csrf');
  if (spawner === 'away') await machine.run(['systemctl', 'stop', 'hub-spawner.service']);
  const begin = performance.now();
  const stages = new Map<string, number>();
  await visitor.submit('/hub/spawn', { csrf, next: '', server: '' });
  stages.set('page', performance.now() - begin);
  const accept = { accept: 'text/event-stream' };
  const response = await visitor.request('/hub/api/users/anna/server/progress', { headers: accept });
  for await (const event of readEvents(response)) {
    const ms = performance.now() - begin;
    stages.set(String(event['stage']), ms);
    if (event['failed'] !== true) continue;
    if (!JSON.stringify(event).includes('apt install jupyterlab')) throw new Error(JSON.stringify(event));
    return { totalMs: ms, stages };
  }
  throw new Error('the progress ended without a failure');
}

async function removeJupyter(machine: Machine): Promise<void> {
  await machine.shell(`mkdir /root/away; mv ${PACKAGES}/jupyterlab ${PACKAGES}/jupyter_server /root/away`);
}

async function main(): Promise<void> {
  await using machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await removeJupyter(machine);
  await machine.enterNetwork();
  const visitor = new Visitor();
  await visitor.logIn('anna', 'correct horse');
  const before = loadavg()[0] ?? Number.NaN;
  // Not counted: it warms the page cache.
  await failOnce(machine, visitor, 'away');
  const rounds: Record<'away' | 'there', Round[]> = { away: [], there: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const spawner of ['away', 'there'] as const) rounds[spawner].push(await failOnce(machine, visitor, spawner));
  }
  console.log(`load of this computer before ${before.toFixed(1)}, after ${(loadavg()[0] ?? Number.NaN).toFixed(1)}\n`);
  console.log(`no Jupyter installed, ms, ${String(ROUNDS).padStart(3)} rounds                  min  median     max`);
  for (const spawner of ['away', 'there'] as const) report(spawner, rounds[spawner]);
  const slowest = Math.max(...[...rounds.away, ...rounds.there].map(({ totalMs }) => totalMs));
  const isMet = slowest < MAX_MS;
  console.log(`\n${isMet ? 'met    ' : 'NOT MET'}  told within ${MAX_MS} ms in every round`);
  if (!isMet) process.exitCode = 1;
}

function report(spawner: string, rounds: readonly Round[]): void {
  console.log(`told after, hub-spawner ${spawner.padEnd(22)}${spread(rounds.map(({ totalMs }) => totalMs))}`);
  for (const stage of rounds[0]?.stages.keys() ?? []) {
    const at = rounds.map(({ stages }) => stages.get(stage) ?? Number.NaN);
    console.log(`  "${stage}" after`.padEnd(54) + median(at).toFixed(0).padStart(8));
  }
}

await main();
