import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createUser, installDeb, PAM_LOGIN } from '../lib/deb.js';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { ServerEvents } from '../lib/server-events.js';
import { start, unitProperty, until } from '../lib/server-start.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

const NAMES = ['anna', 'bob', 'cleo'] as const;
const IDLE_SEC = 8;

t.setTimeout(600_000);

let machine: Machine;
const visitors = new Map<string, Visitor>();

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  for (const name of NAMES) await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  for (const name of NAMES) {
    const visitor = new Visitor();
    await visitor.logIn(name, 'correct horse');
    visitors.set(name, visitor);
  }
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=150']));
  await machine?.stop();
});

function visitorOf(name: (typeof NAMES)[number]): Visitor {
  const visitor = visitors.get(name);
  if (visitor === undefined) throw new Error(`${name} is not logged in`);
  return visitor;
}

async function configure(server: string): Promise<void> {
  await machine.writeFile('/etc/metalhub/metalhub.toml', `${PAM_LOGIN}\n[server]\n${server}\n`);
  await machine.run(['hubctl', 'apply']);
}

interface Listed {
  user: string;
  name: string;
  state: string;
  frozen: boolean;
  limits: { until: string | null } | null;
}

async function listed(user: string, name = ''): Promise<Listed | undefined> {
  const { servers } = JSON.parse(await machine.run(['hubctl', 'servers', '--json'])) as { servers: Listed[] };
  return servers.find((server) => server.user === user && server.name === name);
}

async function isAt(user: string, state: string): Promise<boolean> {
  return (await listed(user))?.state === state;
}

t.test(
  'who is there, or has a kernel at work, keeps their server; one that nobody uses is stopped, and says why',
  async (t) => {
    await Promise.all(NAMES.map(async (name) => t.match(await start(visitorOf(name), name), { ready: true }, name)));
    const since = await machine.cursor();
    const page = await ServerEvents.open(visitorOf('bob'), 'bob');
    // As Jupyter does, only more often: the time that is allowed is shorter here.
    const pings = setInterval(() => void page.answers(), (IDLE_SEC * 1000) / 4);
    t.teardown(() => clearInterval(pings));
    const anna = await JupyterServer.ofHub(machine, 'anna');
    // Jupyter does not always hear what a kernel that is just starting says of itself.
    await anna.python('import os, time');
    // Past the proxy, which therefore sees nothing of it.
    const work = anna.python('while not os.path.exists(os.path.expanduser("~/enough")): time.sleep(0.2)', 300_000);
    work.catch(() => undefined); // looked at below
    const isBusy = async () => /^Busy/.test(await unitProperty(machine, 'jupyter-anna.service', 'StatusText'));
    await until('the kernel is seen at work', isBusy);
    await configure(`idle_timeout_sec = ${IDLE_SEC}`);
    await until('the server of cleo is stopped', () => isAt('cleo', 'stopped'));
    const home = await visitorOf('cleo').navigate('/hub/home');
    t.match(home.text, `because nobody had used it for ${IDLE_SEC} seconds`);
    await machine.waitForEntry({ since, identifier: 'hub' }, /server is stopped: nobody uses it/);
    // What was wrongly taken for unused would be stopped by then.
    await sleep(2 * IDLE_SEC * 1000);
    t.ok(await isAt('anna', 'ready'), 'a kernel is at work');
    t.ok(await isAt('bob', 'ready'), 'a page is open');
    await machine.run(['hubctl', 'exec', 'anna', '--', 'touch', 'enough']);
    await work;
    t.ok(await page.answers());
    clearInterval(pings);
    page.close();
    await until(
      'the others are stopped',
      async () => (await isAt('anna', 'stopped')) && (await isAt('bob', 'stopped')),
    );
    for (const name of NAMES) t.match(await listed(name), { user: name, state: 'stopped' });
  },
);

t.test(
  'limits of a server that runs are changed, given back in time although the hub is killed, and have a ceiling',
  async (t) => {
    await configure('memory_ceiling = "8G"');
    t.match(await start(visitorOf('anna'), 'anna'), { ready: true });
    const unit = 'jupyter-anna.service';
    const shown = async (name: string): Promise<readonly string[]> => [
      await unitProperty(machine, unit, name),
      await unitProperty(machine, 'jupyter-anna.slice', name),
    ];
    const pid = await unitProperty(machine, unit, 'MainPID');
    const GIB = 2 ** 30;
    t.same(await shown('MemoryMax'), [String(4 * GIB), String(4 * GIB)]);
    await machine.run(['hubctl', 'limit', 'anna', 'memory=6G', 'cpu=150%']);
    t.same(await shown('MemoryMax'), [String(6 * GIB), String(6 * GIB)]);
    t.same(await shown('CPUQuotaPerSecUSec'), ['1.500000s', '1.500000s']);
    t.same(await shown('TasksMax'), ['4096', '4096'], 'what was not named stays');
    t.match(await listed('anna'), { limits: { memory_max_bytes: 6 * GIB, cpu_quota_percent: 150, until: null } });
    const refused = await machine.exec(['hubctl', 'limit', 'anna', 'memory=9G']);
    t.match(refused, { code: 1, stderr: /memory: 9216M is more than the 8192M/ }, 'S03: never above the ceiling');
    t.match(await listed('anna'), { limits: { memory_max_bytes: 6 * GIB } }, 'and what was before holds on');
    await machine.run(['hubctl', 'limit', 'anna', 'memory=5G', 'cpu=150%', '--for', '20s']);
    t.match(await listed('anna'), { limits: { until: /^20/ } });
    await machine.run(['systemctl', 'kill', '--signal=KILL', 'hub.service', 'hub-spawner.service']);
    const isBack = async (): Promise<boolean> => (await shown('MemoryMax')).every((bytes) => bytes === String(4 * GIB));
    await until('they are given back', isBack, 90_000);
    t.same(await shown('CPUQuotaPerSecUSec'), ['infinity', 'infinity']);
    await until('it is recorded', async () => (await listed('anna'))?.limits === null);
    t.equal(await unitProperty(machine, unit, 'MainPID'), pid, 'the server never noticed');
  },
);

t.test('a frozen server stands still and its visitors are told so; thawed it goes on where it was', async (t) => {
  const anna = await JupyterServer.ofHub(machine, 'anna');
  await anna.python('x = 6');
  const page = await ServerEvents.open(visitorOf('anna'), 'anna');
  await machine.run(['hubctl', 'freeze', 'anna']);
  t.match(await listed('anna'), { state: 'ready', frozen: true });
  t.equal(await unitProperty(machine, 'jupyter-anna.service', 'FreezerState'), 'frozen');
  const cgroup = '/sys/fs/cgroup/jupyter.slice/jupyter-anna.slice/jupyter-anna.service/cgroup.events';
  t.match(await machine.readFile(cgroup), /^frozen 1$/m);
  await until('its way is closed', async () => !(await page.answers()));
  const lab = await visitorOf('anna').navigate('/user/anna/lab');
  t.equal(lab.response.status, 423);
  t.match(lab.text, 'Your server is paused by an administrator');
  t.match((await visitorOf('anna').navigate('/hub/home')).text, 'Paused');
  await machine.run(['systemctl', 'restart', 'hub.service', 'hub-spawner.service']);
  await until('it is known again', async () => (await listed('anna'))?.frozen === true);
  await machine.run(['hubctl', 'thaw', 'anna']);
  t.match(await listed('anna'), { state: 'ready', frozen: false });
  t.equal((await visitorOf('anna').navigate('/user/anna/api/status')).response.status, 200);
  t.equal(await anna.python('print(x * 7)'), '42', 'the kernel has kept what it had');
  await machine.run(['hubctl', 'freeze', 'anna']);
  await machine.run(['hubctl', 'stop', 'anna']);
  t.match(await listed('anna'), { state: 'stopped' }, 'a frozen server can be stopped');
  const absent = await machine.exec(['hubctl', 'freeze', 'anna']);
  t.match(absent, { code: 1, stderr: /does not run/ });
});

t.test('U02: two named servers of one user write the same files while each is restarted in turn', async (t) => {
  await configure('named_limit = 2');
  const bob = visitorOf('bob');
  const submit = async (action: string, server: string): Promise<{ response: Response; text: string }> => {
    const home = await bob.navigate('/hub/home');
    return await bob.submit(`/hub/${action}`, { csrf: fieldOf(home.text, 'csrf'), next: '', server });
  };
  const isReady = async (name: string): Promise<boolean> => (await listed('bob', name))?.state === 'ready';
  for (const name of ['one', 'two']) await submit('spawn', name);
  await until('both run', async () => (await isReady('one')) && (await isReady('two')));
  t.equal((await submit('spawn', 'three')).response.status, 409, 'no more than the limit');
  for (const name of ['one', 'two']) {
    t.equal((await bob.navigate(`/user/bob/${name}/api/status`)).response.status, 200, `the way to ${name}`);
  }
  const kernels = new Map<string, JupyterServer>();
  const write = async (name: string, turn: number): Promise<string> => {
    const server = kernels.get(name) ?? (await JupyterServer.ofHub(machine, 'bob', name));
    kernels.set(name, server);
    const line = `open("both.txt", "a").write("${name}${turn} "); import os; os.makedirs("d${turn}", exist_ok=True)`;
    return await server.python(`${line}; open("d${turn}/${name}", "w"); print(open("both.txt").read())`);
  };
  for (const [turn, restarted] of (['one', 'two'] as const).entries()) {
    await Promise.all([write('one', turn), write('two', turn)]);
    await submit('stop', restarted);
    kernels.delete(restarted);
    const other = restarted === 'one' ? 'two' : 'one';
    t.match(await write(other, turn + 10), `${restarted}${turn}`, `${other} goes on while ${restarted} is away`);
    await submit('spawn', restarted);
    await until(`${restarted} runs again`, () => isReady(restarted));
    t.match(await write(restarted, turn + 20), `${other}${turn + 10}`, 'and sees what the other wrote');
  }
  for (const name of ['one', 'two']) await submit('stop', name);
  await submit('delete', 'one');
  t.equal(await listed('bob', 'one'), undefined);
  t.match((await bob.navigate('/hub/home')).text, 'Another server');
});

t.test('the journal has no unexpected warnings', async () => {
  // What was killed above.
  await machine.assertCleanJournal([
    /hub(?:-spawner)?\.service: (?:Main process exited, code=killed|Failed with result 'signal')/,
  ]);
});
