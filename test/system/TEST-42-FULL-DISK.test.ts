import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { DiskFault } from '../lib/disk-fault.js';
import { HostCgroup } from '../lib/host-cgroup.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { type Outcome, outcomeOf, press, start, unitProperty, until } from '../lib/server-start.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

const STATE = '/var/lib/metalhub';
const PROXY_STATE = `${STATE}/proxy`;

t.setTimeout(900_000);

let machine: Machine;
let anna: Visitor;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  // Small disks of their own, before anybody uses them: one for the proxy, one for all the rest.
  await machine.shell(`
    mkdir -p ${STATE} && mount -t tmpfs -o size=8m,mode=755 tmpfs ${STATE}
    mkdir ${PROXY_STATE} && mount -t tmpfs -o size=256k,mode=700 tmpfs ${PROXY_STATE}`);
  await installDeb(machine);
  for (const name of ['anna', 'bert', 'carl', 'emil'])
    await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  anna = new Visitor();
  await anna.logIn('anna', 'correct horse');
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=150']));
  await machine?.stop();
});

async function fill(path: string): Promise<void> {
  // Its last block may have room for one more change; without it the whole state must be written.
  await machine.exec(['rm', '-f', `${PROXY_STATE}/state.journal`]);
  await machine.exec(['dd', 'if=/dev/zero', `of=${path}/filler`, 'bs=4k']);
  await machine.exec(['dd', 'if=/dev/zero', `of=${path}/filler2`, 'bs=512']);
}

async function empty(path: string): Promise<void> {
  await machine.run(['rm', '-f', `${path}/filler`, `${path}/filler2`]);
}

async function isRunning(user: string): Promise<boolean> {
  return (await unitProperty(machine, `jupyter-${user}.service`, 'ActiveState')) === 'active';
}

t.test(
  'R07: a start whose route cannot be stored: the server runs, the visitor is told why it cannot be reached yet',
  async (t) => {
    await fill(PROXY_STATE);
    const since = await machine.cursor();
    const event: Outcome = await start(anna, 'anna');
    t.match(event, { ready: true });
    t.ok(await isRunning('anna'));
    const said = (await machine.journal({ since, unit: 'hub-proxy.service' })).map(({ message }) => message);
    const refused = said.filter((message) => /^control request refused/.test(message));
    t.equal(refused.length, 1, 'the journal says it once in a minute, not at every attempt');
    const page = await anna.navigate('/user/anna/lab');
    t.equal(page.response.status, 503);
    t.match(page.text, /The state of the proxy cannot be stored: ENOSPC: no space left on device/);
    t.match(page.text, /Check space and permissions of \/var\/lib\/metalhub\/proxy/);
    const doctor = await machine.exec(['hubctl', 'doctor']);
    t.match(doctor.stdout, /FAILED +hub to proxy: .*no space left on device/, 'the administrator too');
    t.match(await machine.exec(['hubctl', 'status']), {
      code: 1,
      stdout: /takes no others: .*no space left on device/,
    });
    const listed = JSON.parse(await machine.run(['hubctl', 'routes', '--json'])) as Record<string, unknown>;
    t.notMatch(JSON.stringify(listed), '/user/anna/', 'no half-made route');
  },
);

t.test('R07: with room again the route comes by itself', async (t) => {
  await empty(PROXY_STATE);
  await until('the route', async () => (await anna.navigate('/user/anna/api/status')).response.status === 200);
  const { state } = JSON.parse(await machine.readFile(`${PROXY_STATE}/state.json`)) as {
    state: { routes: { prefix: string }[] };
  };
  t.same(
    state.routes.map(({ prefix }) => prefix),
    ['/user/anna/'],
    'and it is stored',
  );
});

t.test('R07: while the proxy cannot store, a logout ends what is open, and Stop stops', async (t) => {
  const other = new Visitor();
  await other.logIn('bert', 'correct horse');
  t.match(await start(other, 'bert'), { ready: true });
  t.equal((await other.navigate('/user/bert/api/status')).response.status, 200);
  await fill(PROXY_STATE);
  const home = await other.navigate('/hub/home');
  const csrf = fieldOf(home.text, 'csrf');
  await other.submit('/hub/logout', { csrf });
  // A request that is under way when the session ends is cut off.
  const status = async (): Promise<number> =>
    await other.request('/user/bert/api/status').then(
      (response) => response.status,
      () => 0,
    );
  await until('the session is over', async () => (await status()) === 401);
  await other.logIn('bert', 'correct horse');
  await press(other, 'stop');
  t.notOk(await isRunning('bert'));
  t.match((await other.navigate('/hub/home')).text, />Start</);
  await empty(PROXY_STATE);
  t.match(await start(other, 'bert'), { ready: true });
  t.equal((await other.navigate('/user/bert/api/status')).response.status, 200);
  await press(other, 'stop');
});

/** Asks the route API. @returns its answer, and behind it the status */
async function route(method: 'POST' | 'DELETE', name: string): Promise<string> {
  const target = '{"target":"unix+http://%2Frun%2Fmetalhub%2Fservers%2Fx.sock"}';
  const body = method === 'POST' ? ['-H', 'content-type: application/json', '-d', target] : [];
  const curl = ['curl', '-sS', '--unix-socket', '/run/metalhub/proxy.sock', '-w', '%{http_code}', '-X', method];
  return machine.run([...curl, ...body, `http://proxy/api/routes/services/${name}/`]);
}

t.test('R07: without inodes it is as without space', async (t) => {
  await machine.run(['rm', '-f', `${PROXY_STATE}/state.journal`]);
  const used = (await machine.run(['df', '--output=iused', PROXY_STATE])).split('\n')[1]?.trim();
  await machine.run(['mount', '-o', `remount,nr_inodes=${used}`, PROXY_STATE]);
  t.match(await route('POST', 'x'), /ENOSPC: no space left on device.*5\d\d$/s);
  t.notMatch(await machine.run(['hubctl', 'routes', '--json']), '/services/x/', 'no half-made route');
  t.equal((await anna.request('/user/anna/api/status')).status, 200, 'what runs goes on');
  await machine.run(['mount', '-o', 'remount,nr_inodes=1000', PROXY_STATE]);
  t.match(await route('POST', 'x'), /201$/);
  await route('DELETE', 'x');
});

t.test(
  'R07: a proxy whose disk answers EIO refuses routes with the reason, takes away at once, and goes on by itself',
  { skip: DiskFault.missing() },
  async (t) => {
    t.match(await route('POST', 'before'), /201$/);
    t.match(await route('POST', 'gone'), /201$/);
    const pid = await unitProperty(machine, 'hub-proxy.service', 'MainPID');
    const fault = await DiskFault.start(machine, 'hub-proxy.service');
    t.teardown(() => fault.end());
    const refused = await route('POST', 'refused');
    t.match(refused, /EIO: i\/o error.*503$/s);
    t.match(refused, /journalctl -k/);
    t.match(await route('DELETE', 'gone'), /503$/);
    const listed = await machine.run(['hubctl', 'routes', '--json']);
    t.match(listed, '/services/before/');
    t.notMatch(listed, /gone|refused/, 'neither a half-made route, nor one that was taken away');
    t.equal((await anna.request('/user/anna/api/status')).status, 200, 'what runs goes on');
    await fault.end();
    t.match(await route('POST', 'after'), /201$/);
    t.equal(await unitProperty(machine, 'hub-proxy.service', 'MainPID'), pid, 'it never ended');
    await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
    const kept = await machine.run(['hubctl', 'routes', '--json']);
    for (const name of ['before', 'after']) t.match(kept, `/services/${name}/`);
    t.notMatch(kept, /gone|refused/);
    for (const name of ['before', 'after']) await route('DELETE', name);
  },
);

t.test(
  'R07: a hub whose disk answers EIO refuses what it cannot keep, shows what it has, and goes on by itself',
  { skip: DiskFault.missing() },
  async (t) => {
    const carl = new Visitor();
    await carl.logIn('carl', 'correct horse');
    const csrf = fieldOf((await carl.navigate('/hub/home')).text, 'csrf');
    const pid = await unitProperty(machine, 'hub.service', 'MainPID');
    const fault = await DiskFault.start(machine, 'hub.service');
    t.teardown(() => fault.end());
    const bert = new Visitor();
    const login = await bert.logIn('bert', 'correct horse');
    t.equal(login.response.status, 503);
    t.match(login.text, /the disk reports an error/);
    const refused = await carl.submit('/hub/spawn', { csrf, next: '', server: '' });
    t.equal(refused.response.status, 503);
    t.match(refused.text, /the disk reports an error/);
    t.notOk(await isRunning('carl'));
    t.equal((await anna.navigate('/hub/home')).response.status, 200, 'what it has can be seen');
    t.equal((await anna.request('/user/anna/api/status')).status, 200, 'what runs goes on');
    await fault.end();
    t.equal((await bert.logIn('bert', 'correct horse')).path, '/hub/home');
    t.match(await start(carl, 'carl'), { ready: true });
    await press(carl, 'stop');
    t.equal(await unitProperty(machine, 'hub.service', 'MainPID'), pid, 'it never ended');
    const check = `import sqlite3; print(sqlite3.connect("file:${STATE}/hub/hub.sqlite?mode=ro", uri=True).execute("PRAGMA integrity_check").fetchone()[0])`;
    t.equal(await machine.run(['python3', '-c', check]), 'ok\n');
  },
);

t.test(
  'R07: without a task for its server a start fails with the reason, and nothing stays',
  { skip: HostCgroup.missing('pids') },
  async (t) => {
    const bert = new Visitor();
    await bert.logIn('bert', 'correct horse');
    await bert.navigate('/hub/home');
    const group = HostCgroup.create('pids');
    t.teardown(() => group.remove());
    // What systemd starts from now on.
    group.add(await machine.leader());
    group.set('pids.max', '1');
    const event = await start(bert, 'bert');
    t.equal(event['failed'], true);
    t.match(JSON.stringify(event), /systemd had no resources to start the server/);
    t.equal(await unitProperty(machine, 'jupyter-bert.service', 'LoadState'), 'not-found');
    t.notMatch(await machine.run(['hubctl', 'routes', '--json']), '/user/bert/');
    t.equal((await anna.request('/user/anna/api/status')).status, 200, 'what runs goes on');
    group.set('pids.max', 'max');
    t.match(await start(bert, 'bert'), { ready: true });
    await press(bert, 'stop');
  },
);

t.test(
  'R07: with no room at all a start is refused with the reason, nothing is started, and what runs goes on',
  async (t) => {
    const emil = new Visitor();
    await emil.logIn('emil', 'correct horse');
    const home = await emil.navigate('/hub/home');
    const csrf = fieldOf(home.text, 'csrf');
    await fill(STATE);
    const refused = await emil.submit('/hub/spawn', { csrf, next: '', server: '' });
    t.equal(refused.response.status, 503);
    t.match(refused.text, /no space is left on the disk/);
    t.notOk(await isRunning('emil'));
    t.notMatch((await machine.exec(['cat', `${STATE}/spawner/leases.json`])).stdout, 'emil');
    t.equal((await anna.request('/user/anna/api/status')).status, 200);
    await empty(STATE);
    t.match(await start(emil, 'emil'), { ready: true }, 'without anybody doing anything');
  },
);

t.test('R07: a spawner that cannot lease refuses the start with the reason', async (t) => {
  // The hub's database keeps what it has; a lease needs a new file.
  await createUser(machine, 'dora', 'correct horse', { groups: ['metalhub-users'] });
  const dora = new Visitor();
  await dora.logIn('dora', 'correct horse');
  await machine.shell(`mkdir /run/keep && cp -a ${STATE}/spawner/. /run/keep/
    systemctl stop hub-spawner.service
    mount -t tmpfs -o size=64k,mode=700 tmpfs ${STATE}/spawner && cp -a /run/keep/. ${STATE}/spawner/`);
  await fill(`${STATE}/spawner`);
  const event = await start(dora, 'dora');
  t.equal(event['failed'], true);
  t.match(JSON.stringify(event), /no space is left on the disk/i);
  t.match(JSON.stringify(event), /free space under \/var\/lib\/metalhub/i);
  t.equal((await machine.exec(['getent', 'passwd', 'jupyter-dora'])).code, 2, 'no account was published');
  await empty(`${STATE}/spawner`);
  t.match(await start(dora, 'dora'), { ready: true });
  await press(dora, 'stop');
});

t.test(
  'R07: with a full /run a start is refused with the reason, and all else goes on, over restarts too',
  async (t) => {
    // As it is after a boot, but for the size.
    await machine.shell('mount -o remount,size=$(($(df --output=used -k /run | tail -n 1) + 64))k /run');
    const fillRun = () =>
      machine.shell('dd if=/dev/zero of=/run/filler bs=512 oflag=append conv=notrunc 2>/dev/null || true');
    await fillRun();
    t.teardown(() => machine.exec(['sh', '-c', 'rm -f /run/filler; mount -o remount,size=20% /run']));
    const bert = new Visitor();
    await bert.logIn('bert', 'correct horse');
    const refused = async (): Promise<void> => {
      // What a daemon gave back meanwhile.
      await fillRun();
      const event = await start(bert, 'bert');
      t.equal(event['failed'], true);
      t.match(JSON.stringify(event), /no space is left on the disk/i);
      t.match(JSON.stringify(event), /free space under \/run/i);
      t.equal(await unitProperty(machine, 'jupyter-bert.service', 'LoadState'), 'not-found');
      t.equal(await machine.run(['ls', '/run/metalhub-spawner/cred']), '', 'nothing half-written');
    };
    await refused();
    for (const end of ['restart', 'kill --signal=KILL']) {
      await machine.shell(`systemctl ${end} hub.service hub-spawner.service hub-proxy.service`);
      const isUp = async (): Promise<boolean> =>
        (await anna.request('/user/anna/api/status').catch(() => undefined))?.status === 200;
      await until('the way to what runs', isUp);
      await until('the hub', async () => (await anna.request('/hub/health')).status === 200);
      await refused();
    }
    // To stop what runs must not need what is full, or it stays so.
    await press(anna, 'stop');
    t.notOk(await isRunning('anna'));
    await machine.shell('rm /run/filler; mount -o remount,size=20% /run');
    t.match(await start(bert, 'bert'), { ready: true }, 'without anybody doing anything');
    await press(bert, 'stop');
    t.match(await start(anna, 'anna'), { ready: true });
  },
);

t.test('R07: a hub that is started with a full disk says why, keeps trying, and comes back by itself', async (t) => {
  // Its end gives back what the database's log took, and a restart gets along with that: somebody else takes it.
  await machine.run(['systemctl', 'stop', 'hub.service']);
  await fill(STATE);
  const since = await machine.cursor();
  await machine.run(['systemctl', 'start', '--no-block', 'hub.service']);
  const entry = await machine.waitForEntry({ identifier: 'hub', since }, /^hub cannot start/);
  t.match(entry.message, /no space is left on the disk that holds \/var\/lib\/metalhub\/hub/);
  t.equal((await anna.request('/user/anna/api/status')).status, 200, 'servers go on');
  const page = await anna.navigate('/hub/home');
  t.equal(page.response.status, 503);
  t.match(page.text, /http-equiv="?refresh/);
  const status = await machine.exec(['hubctl', 'status']);
  t.not(status.code, 0);
  t.match(status.stderr, /no answer within 25 s[\s\S]*journalctl -u hub/, 'hubctl does not wait for ever');
  // It asks the silent hub on two ways, and waits for each.
  const doctor = await machine.exec(['hubctl', 'doctor'], { timeoutMs: 180_000 });
  t.match(doctor.stdout, /disk space in \/var\/lib\/metalhub: 0 MiB free/);
  t.match(doctor.stdout, /FAILED +unit hub\.service/);
  await empty(STATE);
  await until('the hub is back', async () => (await anna.request('/hub/health')).status === 200, 45_000);
  t.match((await anna.navigate('/hub/home')).text, /Running/, 'still logged in, the server adopted');
  await outcomeOf(anna, 'anna');
  await press(anna, 'stop');
});
