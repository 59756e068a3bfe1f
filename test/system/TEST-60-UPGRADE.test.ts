import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { installDeb } from '../lib/deb.js';
import type { Machine } from '../lib/machine.js';
import { makeNextDeb, NEXT_VERSION } from '../lib/next-deb.js';
import { ServerEvents } from '../lib/server-events.js';
import { bootWithAnna, start, unitProperty, until } from '../lib/server-start.js';
import type { Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

const directory = mkdtempSync(join(tmpdir(), 'upgrade-'));
let machine: Machine;
let visitor: Visitor;

t.before(async () => {
  ({ machine, visitor } = await bootWithAnna());
  t.match(await start(visitor, 'anna'), { ready: true });
});

t.teardown(async () => {
  await machine?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Asks for the page again and again; the problems found when `end()` is called. */
function askForEver(path: string) {
  const problems: string[] = [];
  let count = 0;
  let isEnding = false;
  async function run(): Promise<void> {
    while (!isEnding) {
      try {
        const response = await visitor.request(path);
        await response.text();
        if (response.status !== 200) problems.push(`${path}: ${response.status}`);
      } catch (error) {
        problems.push(`${path}: ${String(error)}`);
      }
      count += 1;
      await sleep(20);
    }
  }
  const running = run();
  return async () => {
    isEnding = true;
    await running;
    return { problems, count };
  };
}

t.test('R01: an upgrade fails no request, closes no WebSocket, restarts no server and ends no login', async (t) => {
  const next = makeNextDeb(directory);
  const events = await ServerEvents.open(visitor, 'anna');
  const before = await unitProperty(machine, 'jupyter-anna.service', 'InvocationID');
  const daemons = ['hub.service', 'hub-proxy.service', 'hub-spawner.service'];
  const pids = await Promise.all(daemons.map((unit) => unitProperty(machine, unit, 'MainPID')));
  const since = await machine.cursor();
  const loops = ['/user/anna/api/status', '/hub/health'].map(askForEver);
  await installDeb(machine, next);
  for (const [index, unit] of daemons.entries()) {
    await until(`another ${unit}`, async () => {
      // It comes when it is asked.
      await machine.exec(['hubctl', 'leases']);
      return !['0', pids[index]].includes(await unitProperty(machine, unit, 'MainPID'));
    });
  }
  // What they do at their start.
  await sleep(3000);
  for (const end of loops) {
    const { problems, count } = await end();
    t.same(problems, []);
    t.ok(count > 50, `${count} requests`);
  }
  t.equal(await machine.run(['dpkg-query', '--show', 'metalhub']), `metalhub\t${NEXT_VERSION}\n`);
  t.ok(await events.answers(), 'the WebSocket is open and answers');
  t.equal(await unitProperty(machine, 'jupyter-anna.service', 'InvocationID'), before);
  t.equal(await unitProperty(machine, 'jupyter-anna.service', 'ActiveState'), 'active');
  t.match((await visitor.navigate('/hub/home')).text, /Running/, 'logged in, and the hub knows the server');
  events.close();
  await machine.assertCleanJournal([], since);
});
