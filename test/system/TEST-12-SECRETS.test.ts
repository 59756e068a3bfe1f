import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { sampleProcesses } from '../lib/process-sampler.js';
import { start, unitProperty, until } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

const PASSWORD = 'correct-horse-battery';
const TYPED_WRONG = 'korrect-horse-battery';
const PAM_SERVICE = '/etc/pam.d/metalhub';

t.setTimeout(600_000);

let machine: Machine;
/** Everything that must not be seen, by what it is. */
const secrets = new Map<string, string>();
let processes: string;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', PASSWORD, { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  const visitor = new Visitor();
  processes = await sampleProcesses(machine, async () => {
    await visitor.logIn('anna', TYPED_WRONG);
    await visitor.logIn('anna', PASSWORD);
    await start(visitor, 'anna');
    await visitor.navigate('/user/anna/api/status');
    const headers = { 'content-type': 'application/json', origin: 'http://localhost:8000' };
    const kernel = await visitor.request('/user/anna/api/kernels', {
      method: 'POST',
      headers,
      body: '{"name":"python3"}',
    });
    t.equal(kernel.status, 201);
    await machine.run(['hubctl', 'logs', 'anna']);
    await machine.run(['systemctl', 'restart', 'hub.service', 'hub-proxy.service', 'hub-spawner.service']);
    await visitor.navigate('/user/anna/api/status');
  });
  secrets.set('the password', PASSWORD);
  secrets.set('a password with a typing error', TYPED_WRONG);
  for (const [
    ,
    name = '',
    value = '',
  ] of `${visitor.cookieHeader('/hub/')}; ${visitor.cookieHeader('/user/anna/')}`.matchAll(
    /(metalhub-[a-z-]+)=([^;]+)/g,
  ))
    secrets.set(`the cookie ${name}`, value);
  const credential = await machine.readFile('/run/credentials/jupyter-anna.service/server.json');
  secrets.set('the server’s token', (JSON.parse(credential) as { token: string }).token);
  for (const file of (await machine.run(['sh', '-c', 'ls /etc/metalhub/secrets/*'])).trim().split('\n')) {
    const [line = ''] = (await machine.readFile(file))
      .split('\n')
      .filter((text) => text !== '' && !text.startsWith('-----'));
    secrets.set(file, line);
  }
});

t.teardown(async () => {
  await machine?.stop();
});

function found(where: string): string[] {
  return [...secrets].filter(([, secret]) => where.includes(secret)).map(([what]) => what);
}

t.test(
  'S05 M05: no password and no token is on a command line or in an environment during login, start and restart',
  async (t) => {
    t.ok(secrets.size >= 8, [...secrets.keys()].join(', '));
    t.ok([...secrets.values()].every((secret) => secret.length >= 20));
    for (const program of [
      'hub.cjs',
      'hub-proxy.cjs',
      'hub-spawner.cjs',
      'hub-pam.cjs',
      'hub-logs.cjs',
      'launcher.py',
      'ipykernel',
    ])
      t.ok(processes.includes(program), `${program} was seen`);
    t.match(processes, /METALHUB_START_ID=/, 'environments too');
    t.same(found(processes), []);
  },
);

t.test('S05 D03: none is in the journal, in a unit’s properties, or in a file but where it is kept', async (t) => {
  await machine.run(['journalctl', '--sync']);
  t.same(found(await machine.run(['journalctl', '--all', '--output=export'])), []);
  t.same(found(await machine.run(['systemctl', 'show', '--all', '*'])), []);
  await machine.writeFile('/run/secrets-to-find', [...secrets.values()].join('\n'), 0o600);
  const places = '/etc /var/lib /var/log /var/cache/man /var/tmp /var/spool /run /tmp /home /root /opt /srv';
  const files = await machine.exec(['sh', '-c', `grep -rlaF -D skip -f /run/secrets-to-find ${places}`]);
  const names = files.stdout
    .trim()
    .split('\n')
    .filter((name) => name !== '/run/secrets-to-find')
    .sort();
  const expected = [
    /^\/etc\/metalhub\/secrets\/[a-z-]+$/,
    // As systemd hands them over: readable by the unit's own processes and root.
    /^\/run\/credentials\/(?:hub|jupyter-anna)\.service\/[a-z.-]+$/,
    /^\/run\/metalhub-spawner\/.*server\.json$/,
    // The token that the proxy adds.
    /^\/var\/lib\/metalhub\/proxy\/state\.(?:json|journal)$/,
  ];
  t.same(
    names.filter((name) => !expected.some((pattern) => pattern.test(name))),
    [],
  );
  for (const name of names) t.match((await machine.run(['stat', '-c', '%a', name])).trim(), /^[46]00$|^440$/, name);
});

t.test('M05 S05: a daemon that crashes with secrets in its memory leaves no core', async (t) => {
  const normal = await machine.readFile(PAM_SERVICE);
  await machine.writeFile(PAM_SERVICE, `auth required pam_exec.so /usr/bin/sleep 50\n${normal}`);
  const attempt = new Visitor().logIn('anna', PASSWORD).catch(() => undefined);
  await until('PAM waits', async () => (await machine.exec(['pgrep', '-f', '^/usr/bin/sleep 50'])).code === 0);
  const pam =
    (await machine.run(['systemctl', 'list-units', '--plain', '--no-legend', 'hub-pam@*'])).split(' ')[0] ?? '';
  const status = await machine.run(['curl', '-sS', '--unix-socket', '/run/metalhub/proxy.sock', 'http://x/api/status']);
  const [worker] = (JSON.parse(status) as { generations: [{ pid: number }] }).generations;
  const mains = ['hub.service', 'hub-proxy.service', 'hub-spawner.service', pam];
  const pids = await Promise.all(mains.map((unit) => unitProperty(machine, unit, 'MainPID')));
  const since = await machine.cursor();
  await machine.run(['touch', '/run/before']);
  const crashing = new Map([
    ...mains.map((unit, index) => [unit, pids[index] ?? ''] as const),
    ['the worker', `${worker.pid}`],
  ]);
  // The last first: the worker before its supervisor, the attempt before the hub that waits for it.
  for (const [what, pid] of [...crashing].reverse()) {
    const limits = await machine.readFile(`/proc/${pid}/limits`);
    t.match(limits, /^Max core file size +0 +0 /m, what);
    await machine.run(['kill', '-s', 'SEGV', pid]);
  }
  await attempt;
  for (const unit of mains)
    await machine.waitForEntry(
      { since },
      new RegExp(`^${unit.replaceAll('.', '\\.')}: Main process exited, code=killed, status=11/SEGV`),
    );
  t.notOk((await machine.journal({ since })).some(({ message }) => /code=dumped|dumped core/.test(message)));
  const find = `find / -xdev ( -path /proc -o -path /sys ) -prune -o -newer /run/before -type f -name *core* -print`;
  t.equal(await machine.run(find.split(' ')), '');
  t.equal(
    await machine.run([
      'find',
      '/var',
      '/home',
      '/srv',
      '-newer',
      '/run/before',
      '-type',
      'f',
      '-size',
      '+1M',
      '-name',
      '*core*',
    ]),
    '',
  );
  await machine.writeFile(PAM_SERVICE, normal);
  t.equal((await new Visitor().logIn('anna', PASSWORD)).path, '/hub/home', 'and all are back');
});
