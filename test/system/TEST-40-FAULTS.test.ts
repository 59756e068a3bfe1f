import t from 'tap';
import { PAM_LOGIN } from '../lib/deb.js';
import type { Machine } from '../lib/machine.js';
import { bootWithAnna, outcomeOf, press, start, until, useProgram } from '../lib/server-start.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const DATABASE_DIRECTORY = '/var/lib/metalhub/hub';
const DATABASE = `${DATABASE_DIRECTORY}/hub.sqlite`;

t.setTimeout(900_000);

let machine: Machine;
let visitor: Visitor;

t.before(async () => {
  ({ machine, visitor } = await bootWithAnna());
});

t.teardown(async () => {
  await machine?.stop();
});

async function serverAnswers(): Promise<number> {
  return (await visitor.navigate('/user/anna/api/status')).response.status;
}

/** What SQLite says of the whole file. */
async function checkDatabase(): Promise<string> {
  const check = `import sqlite3; print(sqlite3.connect("file:${DATABASE}?mode=ro", uri=True).execute("PRAGMA integrity_check").fetchone()[0])`;
  return (await machine.run(['python3', '-c', check])).trim();
}

async function isActive(unit: string): Promise<string> {
  return (await machine.exec(['systemctl', 'is-active', unit])).stdout.trim();
}

async function useDefaults(): Promise<void> {
  await machine.writeFile(CONFIG, PAM_LOGIN);
  await machine.run(['hubctl', 'apply']);
}

t.test(
  'a bad configuration is refused by every daemon with file, line and key, and a reload keeps the old one',
  async (t) => {
    const cases: [string, RegExp][] = [
      [`${PAM_LOGIN}[proxy\n`, /metalhub\.toml:\d+: syntax error/],
      [`${PAM_LOGIN}[proxy]\nlisen = ["127.0.0.1:8000"]\n`, /metalhub\.toml:5: proxy\.lisen: unknown key/],
      [
        `${PAM_LOGIN}[server]\nstart_timeout_sec = "soon"\n`,
        /metalhub\.toml:5: server\.start_timeout_sec: must be of type integer/,
      ],
    ];
    for (const [config, message] of cases) {
      await machine.writeFile(CONFIG, config);
      t.match(await machine.exec(['hubctl', 'config', 'check']), { code: 78, stderr: message });
      t.match(await machine.exec(['hubctl', 'apply']), { code: 78, stderr: message });
      for (const unit of ['hub', 'hub-proxy']) {
        const since = await machine.cursor();
        await machine.exec(['systemctl', 'reload', `${unit}.service`]);
        t.match(
          (await machine.waitForEntry({ identifier: unit, since }, message)).message,
          message,
          `${unit} names it`,
        );
        t.equal(await isActive(`${unit}.service`), 'active', `${unit} goes on`);
      }
      t.equal((await visitor.navigate('/hub/home')).response.status, 200, 'with the old configuration');
    }
    const since = await machine.cursor();
    await machine.exec(['systemctl', 'restart', 'hub-proxy.service']);
    t.match(
      (await machine.waitForEntry({ identifier: 'hub-proxy', since }, /last good|fall/i)).message,
      /./,
      'the proxy falls back loudly',
    );
    t.equal((await visitor.navigate('/hub/home')).response.status, 200);
    await machine.exec(['systemctl', 'restart', 'hub.service']);
    t.not(await isActive('hub.service'), 'active', 'the hub refuses to start');
    t.equal((await visitor.navigate('/hub/home')).response.status, 503, 'and the proxy says so');
    await useDefaultsAfterRefusal();
    t.equal((await visitor.navigate('/hub/home')).response.status, 200, 'mended without a reboot');
  },
);

async function useDefaultsAfterRefusal(): Promise<void> {
  await machine.writeFile(CONFIG, PAM_LOGIN);
  await machine.exec(['systemctl', 'reset-failed', 'hub.service']);
  await machine.run(['systemctl', 'restart', 'hub.service']);
  await machine.run(['hubctl', 'apply']);
}

t.test('without Jupyter a start fails long before the time-out and names the package', async (t) => {
  await machine.run([
    'mv',
    '/usr/lib/python3/dist-packages/jupyterlab',
    '/usr/lib/python3/dist-packages/jupyterlab.away',
  ]);
  const begin = performance.now();
  const event = await start(visitor, 'anna');
  t.equal(event['failed'], true);
  t.match(JSON.stringify(event), /apt install jupyterlab/);
  const ms = performance.now() - begin;
  t.comment(`failed after ${ms.toFixed(0)} ms`);
  t.ok(ms < 30_000, 'not after a time-out');
  t.match(await machine.exec(['hubctl', 'doctor']), { code: 1, stdout: /FAILED +Jupyter of profile default/ });
  await machine.run([
    'mv',
    '/usr/lib/python3/dist-packages/jupyterlab.away',
    '/usr/lib/python3/dist-packages/jupyterlab',
  ]);
});

t.test('a server that exits at once is explained with its own last lines', async (t) => {
  await useProgram(machine, 'echo "cannot open frobnicator.so"; exit 3', 3);
  const event = await start(visitor, 'anna');
  t.equal(event['failed'], true);
  t.match(JSON.stringify(event), /cannot open frobnicator\.so/);
  t.match((await visitor.navigate('/hub/home')).text, /cannot open frobnicator\.so/, 'also on the home page');
});

t.test('a server that prints its secrets shows them to nobody', async (t) => {
  await useProgram(
    machine,
    'cat "$CREDENTIALS_DIRECTORY"/*; echo; cp "$CREDENTIALS_DIRECTORY"/server.json "$HOME/seen"; exit 1',
    3,
  );
  const event = await start(visitor, 'anna');
  t.equal(event['failed'], true);
  const seen = await machine.readFile('/var/lib/private/metalhub/home/anna/seen');
  const { token } = JSON.parse(seen) as { token: string };
  t.match(token, /^[\w-]{43}$/);
  const shown = JSON.stringify(event) + (await visitor.navigate('/hub/home')).text;
  t.match(shown, /base_url/, 'its output is shown');
  t.notOk(shown.includes(token), 'without the token');
});

t.test('a server that hangs is ended at the time-out, and a Stop ends it before', async (t) => {
  await useProgram(machine, 'sleep infinity', 3);
  const event = await start(visitor, 'anna');
  t.equal(event['failed'], true);
  t.match(JSON.stringify(event), /3 seconds/);
  await press(visitor, 'spawn');
  await press(visitor, 'stop');
  const home = await visitor.navigate('/hub/home');
  t.match(home.text, /Start|Try again/);
  t.equal(await isActive('jupyter-anna.service'), 'inactive');
});

t.test('two Starts at once start one server', async (t) => {
  await useDefaults();
  const home = await visitor.navigate('/hub/home');
  const form = { csrf: fieldOf(home.text, 'csrf'), next: '', server: '' };
  const since = await machine.cursor();
  await Promise.all([1, 2, 3, 4].map(() => visitor.submit('/hub/spawn', form)));
  t.match(await outcomeOf(visitor, 'anna'), { ready: true });
  t.equal(await serverAnswers(), 200);
  const started = (await machine.journal({ since, unit: 'jupyter-anna.service' })).filter(({ message }) =>
    /^Started /.test(message),
  );
  t.equal(started.length, 1);
  await press(visitor, 'stop');
});

t.test('R06: while the hub is down a running server answers, and hub pages say so', async (t) => {
  t.match(await start(visitor, 'anna'), { ready: true });
  t.equal(await serverAnswers(), 200);
  await machine.run(['systemctl', 'stop', 'hub.socket', 'hub-admin.socket', 'hub.service']);
  t.equal((await visitor.request('/user/anna/api/status')).status, 200);
  const page = await visitor.navigate('/hub/home');
  t.equal(page.response.status, 503);
  t.match(page.text, /http-equiv="?refresh/);
  await machine.run(['systemctl', 'start', 'hub.socket', 'hub-admin.socket', 'hub.service']);
  t.match((await visitor.navigate('/hub/home')).text, /Running/, 're-adopted');
  await press(visitor, 'stop');
});

t.test('R07: a full disk refuses new logins with a reason, keeps what runs, and mends itself', async (t) => {
  t.match(await start(visitor, 'anna'), { ready: true });
  t.equal(await serverAnswers(), 200);
  await machine.shell(`
    systemctl stop hub.service
    mkdir /run/keep && cp -a /var/lib/metalhub/hub/. /run/keep/
    mount -t tmpfs -o size=4m,mode=700,uid=$(id -u metalhub),gid=$(id -g metalhub) tmpfs /var/lib/metalhub/hub
    cp -a /run/keep/. /var/lib/metalhub/hub/
    systemctl start hub.service
    dd if=/dev/zero of=/var/lib/metalhub/hub/filler bs=64k 2>/dev/null || true`);
  t.equal((await visitor.navigate('/hub/home')).response.status, 200, 'who is logged in stays');
  t.equal((await visitor.request('/user/anna/api/status')).status, 200, 'servers answer');
  const other = new Visitor();
  const refused = await other.logIn('anna', 'correct horse');
  t.equal(refused.response.status, 503);
  t.match(refused.text, /disk|space|store/i);
  await machine.run(['rm', '/var/lib/metalhub/hub/filler']);
  t.equal((await other.logIn('anna', 'correct horse')).response.status, 200, 'without a restart');
  await machine.shell(`
    systemctl stop hub.service
    umount /var/lib/metalhub/hub
    systemctl start hub.service`);
  await press(visitor, 'stop');
});

t.test(
  'R07: while another program holds the database, reads and servers go on, and a login says why not',
  async (t) => {
    t.match(await start(visitor, 'anna'), { ready: true });
    const hold = `import sqlite3, time; c = sqlite3.connect("${DATABASE}", isolation_level=None); c.execute("BEGIN IMMEDIATE"); print("held", flush=True); time.sleep(120)`;
    await machine.run(['systemd-run', '--quiet', '--unit=holder', 'python3', '-c', hold]);
    await machine.waitForEntry({ unit: 'holder.service' }, /held/);
    t.equal((await visitor.navigate('/hub/home')).response.status, 200, 'who is logged in stays');
    t.equal(await serverAnswers(), 200);
    const other = new Visitor();
    const refused = await other.logIn('anna', 'correct horse');
    t.equal(refused.response.status, 503);
    t.match(refused.text, /another program holds it/);
    await machine.run(['systemctl', 'stop', 'holder.service']);
    t.equal((await other.logIn('anna', 'correct horse')).response.status, 200, 'without a restart');
    t.equal(await checkDatabase(), 'ok');
  },
);

t.test('R07: a hub whose database is read-only says so, keeps trying, and comes back by itself', async (t) => {
  await machine.run(['systemctl', 'stop', 'hub.service']);
  await machine.shell(
    `mount --bind ${DATABASE_DIRECTORY} ${DATABASE_DIRECTORY}; mount -o remount,bind,ro ${DATABASE_DIRECTORY}`,
  );
  const since = await machine.cursor();
  await machine.run(['systemctl', 'start', '--no-block', 'hub.service']);
  const entry = await machine.waitForEntry({ identifier: 'hub', since }, /cannot start/);
  t.match(entry.message, `${DATABASE_DIRECTORY} is read-only`);
  t.equal((await visitor.request('/user/anna/api/status')).status, 200, 'servers go on');
  t.equal((await visitor.navigate('/hub/home')).response.status, 503);
  // A hub that is being restarted may have it open just now.
  await machine.run(['umount', '--lazy', DATABASE_DIRECTORY]);
  await until('the hub is back', async () => (await visitor.request('/hub/health')).status === 200, 60_000);
  t.match((await visitor.navigate('/hub/home')).text, /Running/, 'still logged in, the server adopted');
  t.equal(await checkDatabase(), 'ok');
  await press(visitor, 'stop');
});

t.test('a database of a newer version is refused with a clear message and left alone', async (t) => {
  await machine.run(['systemctl', 'stop', 'hub.service']);
  const edit = `import sqlite3; c = sqlite3.connect("/var/lib/metalhub/hub/hub.sqlite"); c.execute("INSERT INTO schema_version VALUES (999, 0)"); c.commit()`;
  await machine.run(['cp', '-a', '/var/lib/metalhub/hub/hub.sqlite', '/run/hub.sqlite']);
  await machine.run(['python3', '-c', edit]);
  const since = await machine.cursor();
  await machine.exec(['systemctl', 'start', 'hub.service']);
  t.match((await machine.waitForEntry({ identifier: 'hub', since }, /schema/)).message, /has schema 999/);
  await machine.shell(`
    systemctl stop hub.service
    rm -f /var/lib/metalhub/hub/hub.sqlite-*
    cp -a /run/hub.sqlite /var/lib/metalhub/hub/hub.sqlite
    systemctl reset-failed hub.service
    systemctl start hub.service`);
  t.equal((await visitor.navigate('/hub/home')).response.status, 200);
});

t.test('R05: stopping the proxy really stops listening, and a start brings it back', async (t) => {
  await machine.run(['systemctl', 'stop', 'hub-proxy.socket', 'hub-proxy.service']);
  await t.rejects(visitor.request('/hub/health'), 'refused');
  t.equal((await machine.exec(['pgrep', '-u', 'metalhub-proxy'])).code, 1, 'no process of any generation is left');
  await machine.run(['systemctl', 'start', 'hub-proxy.socket', 'hub-proxy.service']);
  t.equal((await visitor.request('/hub/health')).status, 200);
});

t.test('a reboot keeps logins and files, and servers are offered again', async (t) => {
  t.match(await start(visitor, 'anna'), { ready: true });
  await machine.run(['sh', '-c', 'echo kept > /var/lib/private/metalhub/home/anna/mark']);
  await machine.reboot();
  t.match((await visitor.navigate('/hub/home')).text, />Start</);
  const next = '/user/anna/lab/tree/notes.ipynb';
  // Until the hub has found the server gone, the proxy says so by itself.
  const visit = async (): Promise<boolean> => (await visitor.navigate(next)).path.startsWith('/hub/spawn?');
  await until('a page that was open before leads to the start', visit);
  const page = await visitor.navigate(next);
  t.equal(fieldOf(page.text, 'next'), next, 'and back');
  await visitor.submit('/hub/spawn', { csrf: fieldOf(page.text, 'csrf'), next, server: '' });
  t.match(await outcomeOf(visitor, 'anna'), { ready: true });
  t.equal((await visitor.navigate(next)).response.status, 200);
  t.equal(await machine.readFile('/var/lib/private/metalhub/home/anna/mark'), 'kept\n');
  await press(visitor, 'stop');
});
