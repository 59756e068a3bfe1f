import t from 'tap';
import type { Machine } from '../lib/machine.js';
import { bootWithAnna, outcomeOf, press, start, unitProperty, until, useProgram } from '../lib/server-start.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

const SERVICE = 'jupyter-anna.service';
const PAM_SERVICE = '/etc/pam.d/metalhub';

t.setTimeout(900_000);

let machine: Machine;
let visitor: Visitor;

t.before(async () => {
  ({ machine, visitor } = await bootWithAnna());
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=150']));
  await machine?.stop();
});

async function workerPid(): Promise<number> {
  const status = await machine.run(['curl', '-sS', '--unix-socket', '/run/metalhub/proxy.sock', 'http://x/api/status']);
  return (JSON.parse(status) as { generations: [{ pid: number }] }).generations[0].pid;
}

async function mainPid(unit: string): Promise<number> {
  return Number(await unitProperty(machine, unit, 'MainPID'));
}

async function signal(name: 'KILL' | 'STOP' | 'CONT', pid: number): Promise<void> {
  await machine.run(['kill', '-s', name, String(pid)]);
}

async function isAlive(pid: number): Promise<boolean> {
  return (await machine.exec(['kill', '-0', String(pid)])).code === 0;
}

/** How often the unit was started since then. */
async function startsSince(since: string): Promise<number> {
  const entries = await machine.journal({ since, unit: SERVICE });
  return entries.filter(({ message }) => /^Started /.test(message)).length;
}

const DAEMONS: readonly (readonly [name: string, pid: () => Promise<number>])[] = [
  ['hub', () => mainPid('hub.service')],
  ['hub-proxy’s supervisor', () => mainPid('hub-proxy.service')],
  ['hub-proxy’s worker', workerPid],
  ['hub-spawner', () => mainPid('hub-spawner.service')],
];

for (const [name, findPid] of DAEMONS) {
  t.test(`R06: kill -9 of ${name} in the middle of a start: that start succeeds, with one server`, async (t) => {
    await useProgram(machine, 'sleep 10; exec /usr/bin/python3 "$@"');
    const since = await machine.cursor();
    await press(visitor, 'spawn');
    await until('the unit starts', async () => (await unitProperty(machine, SERVICE, 'ActiveState')) === 'activating');
    const invocation = await unitProperty(machine, SERVICE, 'InvocationID');
    const pid = await findPid();
    await signal('KILL', pid);
    t.equal(await unitProperty(machine, SERVICE, 'ActiveState'), 'activating', 'it was in the middle');
    const event = await outcomeOf(visitor, 'anna');
    t.match(event, { ready: true });
    t.notOk(await isAlive(pid));
    t.equal((await visitor.navigate('/user/anna/api/status')).response.status, 200);
    t.equal(await unitProperty(machine, SERVICE, 'InvocationID'), invocation, 'the one that was being started');
    t.equal(await startsSince(since), 1);
    await press(visitor, 'stop');
    for (const unit of [SERVICE, 'jupyter-anna.socket'])
      t.equal(await unitProperty(machine, unit, 'ActiveState'), 'inactive');
  });
}

t.test(
  'kill -9 of the launcher in the middle of a start: the failure is told at once, the next start works',
  async (t) => {
    await press(visitor, 'spawn');
    await until('the unit starts', async () => (await mainPid(SERVICE)) > 0);
    await signal('KILL', await mainPid(SERVICE));
    const event = await outcomeOf(visitor, 'anna');
    t.equal(event['failed'], true);
    t.match(JSON.stringify(event), /ended before it was ready \(signal, status 9\)/);
    t.equal(await unitProperty(machine, 'jupyter-anna.socket', 'ActiveState'), 'inactive');
    t.match(await start(visitor, 'anna'), { ready: true });
    await press(visitor, 'stop');
  },
);

t.test(
  'kill -9 of hub-pam in the middle of a login: a clear answer at once, and it counts as no failure',
  async (t) => {
    const normal = await machine.readFile(PAM_SERVICE);
    await machine.writeFile(PAM_SERVICE, `auth required pam_exec.so /usr/bin/sleep 50\n${normal}`);
    const other = new Visitor();
    const since = await machine.cursor();
    // So many failures with a wrong password would slow down the next attempt.
    for (let count = 0; count < 5; count++) {
      const attempt = other.logIn('anna', 'correct horse');
      await until('PAM waits', async () => (await machine.exec(['pgrep', '-f', '^/usr/bin/sleep 50'])).code === 0);
      const begin = performance.now();
      await machine.run(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'hub-pam@*']);
      const { response, text } = await attempt;
      t.equal(response.status, 503);
      t.match(text, /The password could not be checked/);
      t.equal(fieldOf(text, 'username'), 'anna', 'the form is there again');
      t.ok(performance.now() - begin < 10_000, 'long before any time-out');
      await until(
        'nothing is left',
        async () => (await machine.exec(['pgrep', '-f', '^/usr/bin/sleep 50'])).code !== 0,
      );
    }
    await machine.writeFile(PAM_SERVICE, normal);
    t.equal((await other.logIn('anna', 'correct horse')).path, '/hub/home', 'the next attempt works');
    const said = (await machine.journal({ since, identifier: 'hub' })).filter(({ message }) =>
      /could not be checked/.test(message),
    );
    t.equal(said.length, 5);
    t.match(said[0]?.fields, { METALHUB_REASON: /hub-pam/ });
    t.ok((await machine.journal({ since })).some(({ message }) => /^hub-pam@.*status=9\/KILL/.test(message)));
  },
);

t.test(
  'kill -9 of hub-logs while a failed start is explained: the failure is told, and that the log is missing',
  async (t) => {
    const dropIn = '/run/systemd/system/hub-logs@.service.d/slow.conf';
    await machine.writeFile('/opt/odd/journalctl', '#!/bin/sh\nexec sleep 50\n', 0o755);
    await machine.writeFile(
      dropIn,
      '[Service]\nBindReadOnlyPaths=/opt/odd/journalctl:/usr/bin/journalctl\nExecPaths=/usr/bin\n',
    );
    await machine.run(['systemctl', 'daemon-reload']);
    await useProgram(machine, 'echo "cannot open frobnicator.so"; exit 3');
    const since = await machine.cursor();
    await press(visitor, 'spawn');
    await until('the log is read', async () => (await machine.exec(['pgrep', '-f', '^sleep 50'])).code === 0);
    await machine.run(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'hub-logs@*']);
    const event = JSON.stringify(await outcomeOf(visitor, 'anna'));
    const note =
      'The log could not be read to its end; the administrator can see it: journalctl -u jupyter-anna.service';
    t.match(event, /"failed":true/);
    t.match(event, /ended before it was ready \(exit-code, status 3\)/);
    t.match(event, note);
    t.match((await visitor.navigate('/hub/home')).text, note);
    t.match(
      (await machine.waitForEntry({ identifier: 'hub', since }, /^log of a server could not be read/)).priority,
      4,
    );
    t.match(JSON.stringify(await start(visitor, 'anna')), note, 'the same when nobody kills it and it only hangs');
    await machine.run(['rm', dropIn]);
    await machine.run(['systemctl', 'daemon-reload']);
    const next = JSON.stringify(await start(visitor, 'anna'));
    t.match(next, 'cannot open frobnicator.so');
    t.notMatch(next, note);
  },
);

t.test('R03: a worker of the proxy that hangs is replaced, and visitors only wait', async (t) => {
  const pid = await workerPid();
  const since = await machine.cursor();
  await signal('STOP', pid);
  t.equal((await visitor.navigate('/hub/home')).response.status, 200);
  t.ok(await machine.waitForEntry({ identifier: 'hub-proxy', since }, /^a worker ended or hangs, and is replaced/));
  t.ok(await isAlive(pid), 'the old one keeps its connections, in case it goes on');
  await signal('CONT', pid);
  t.equal((await visitor.navigate('/hub/home')).response.status, 200);
});

t.test('R03: hub, spawner and the proxy’s supervisor that hang are ended by systemd and started again', async (t) => {
  await useProgram(machine, 'exec /usr/bin/python3 "$@"');
  t.match(await start(visitor, 'anna'), { ready: true });
  t.equal((await visitor.navigate('/user/anna/api/status')).response.status, 200);
  const units = ['hub.service', 'hub-proxy.service', 'hub-spawner.service'];
  const before = await Promise.all(units.map(mainPid));
  const since = await machine.cursor();
  for (const pid of before) await signal('STOP', pid);
  t.equal((await visitor.request('/user/anna/api/status')).status, 200, 'servers answer meanwhile');
  for (const unit of units) await machine.waitForEntry({ since }, new RegExp(`^${unit}: Watchdog timeout`), 90_000);
  t.equal((await visitor.navigate('/hub/home')).response.status, 200);
  t.equal((await visitor.request('/user/anna/api/status')).status, 200);
  await press(visitor, 'stop');
  t.match(await start(visitor, 'anna'), { ready: true });
  for (const [index, unit] of units.entries()) t.not(await mainPid(unit), before[index], unit);
  await press(visitor, 'stop');
});
