import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type ExecResult, type Machine } from '../lib/machine.js';
import { frame, sendRaw } from '../lib/raw-caller.js';
import { Visitor } from '../lib/visitor.js';

const SOCKET = '/run/metalhub/spawner-admin.sock';
const LEASES = '/var/lib/metalhub/spawner/leases.json';
const HOMES = '/var/lib/private/metalhub/home';
const CLOSED = /^(closed|ConnectionResetError|BrokenPipeError)$/;

t.setTimeout(900_000);

let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  for (const name of ['anna', 'bob', 'cleo']) {
    await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
  }
  await createUser(machine, 'eve', 'battery staple');
  await createUser(machine, 'olga', 'battery staple', { groups: ['metalhub-admin'] });
  await machine.enterNetwork();
  for (const name of ['anna', 'bob', 'cleo']) {
    await new Visitor().logIn(name, 'correct horse');
    await machine.run(['hubctl', 'start', name], { timeoutMs: 120_000 });
    await machine.run(['hubctl', 'stop', name]);
  }
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=60']));
  await machine?.stop();
});

function hubctl(argv: readonly string[], user?: string): Promise<ExecResult> {
  return machine.exec(['hubctl', ...argv], { timeoutMs: 120_000, ...(user !== undefined && { user }) });
}

interface Row {
  key: string;
  uid: number | null;
  state: string;
  home: boolean;
  running: boolean;
}

async function leases(): Promise<{ leases: Row[]; lost: boolean }> {
  return JSON.parse(await machine.run(['hubctl', 'leases', '--json']));
}

async function leaseOf(key: string): Promise<Row | undefined> {
  return (await leases()).leases.find((row) => row.key === key && row.state !== 'released');
}

const as = (user: string, group = user): string[] => [
  'setpriv',
  `--reuid=${user}`,
  `--regid=${group}`,
  '--clear-groups',
];
const list = frame({ id: 1, method: 'ListLeases', params: { offset: 0 } });

t.test('S01: root and members of metalhub-admin are heard, all others kept out by the file’s mode', async (t) => {
  t.equal(await sendRaw(machine, SOCKET, [], list), 'answer', 'root');
  t.equal(await sendRaw(machine, SOCKET, as('olga', 'metalhub-admin'), list), 'answer', 'an administrator');
  for (const user of ['eve', 'metalhub', 'metalhub-proxy', 'metalhub-logs']) {
    const group = user === 'metalhub-logs' ? 'nogroup' : user;
    t.equal(await sendRaw(machine, SOCKET, as(user, group), list), 'PermissionError', user);
  }
  t.match(await hubctl(['leases'], 'olga'), {
    code: 0,
    stdout: /^anna +70000 +pam:anna +leased .* yes +no$/m,
    stderr: '',
  });
  for (const argv of [['leases'], ['leases', 'release', 'anna'], ['leases', 'adopt']]) {
    t.match(await hubctl(argv, 'eve'), { code: 1, stdout: '', stderr: /metalhub-admin/ }, argv.join(' '));
  }
});

t.test('S01: who has the group without being its member, the hub above all, is refused and logged', async (t) => {
  await machine.run(['gpasswd', '--add', 'metalhub', 'metalhub-admin']);
  for (const user of ['eve', 'metalhub', 'metalhub-proxy']) {
    const since = await machine.cursor();
    t.match(await sendRaw(machine, SOCKET, as(user, 'metalhub-admin'), list), CLOSED, user);
    const uid = (await machine.run(['id', '-u', user])).trim();
    t.match(await machine.journal({ identifier: 'hub-spawner', since }), [
      { message: 'connection refused', priority: 4, fields: { METALHUB_PEER: new RegExp(`^uid=${uid} pid=[0-9]+$`) } },
    ]);
  }
  await machine.run(['gpasswd', '--delete', 'metalhub', 'metalhub-admin']);
});

t.test('S01: malformed and unknown requests close the connection, and are logged with the peer alone', async (t) => {
  const bad = [
    '\xff\xff\xff\xff',
    '\0\0\0\x01x',
    frame([]),
    frame({ id: 1, method: 'List', params: {} }),
    frame({ id: 1, method: 'StartServer', params: {} }),
    frame({ id: 1, method: 'Exec', params: {} }),
    frame({ id: 1, method: '__proto__', params: {} }),
    frame({ id: 1, method: 'ListLeases', params: {} }),
    frame({ id: 1, method: 'ListLeases', params: { offset: 0, User: 'root' } }),
    frame({ id: 1, method: 'ReleaseLease', params: { key: '../x', home_is_gone: true } }),
    frame({ id: 1, method: 'AdoptHome', params: { key: 'anna', identity: 'pam:anna', uid: 0 } }),
    frame({ id: 1, method: 'FixHome', params: { key: '../x', check: true } }),
    frame({ id: 1, method: 'FixHome', params: { key: 'anna', check: true, uid: 0 } }),
  ];
  const before = await machine.readFile(LEASES);
  for (const bytes of bad) {
    const since = await machine.cursor();
    t.match(await sendRaw(machine, SOCKET, as('olga', 'metalhub-admin'), bytes), CLOSED);
    const entries = await machine.journal({ identifier: 'hub-spawner', since });
    t.match(entries, [{ message: 'connection refused', fields: { METALHUB_PEER: /^uid=[1-9][0-9]* pid=[0-9]+$/ } }]);
    t.notMatch(JSON.stringify(entries), /Exec"|StartServer|\.\.\/x/);
  }
  t.equal(await machine.readFile(LEASES), before);
  // The hub's own socket takes nothing of this.
  const hubs = '/run/metalhub/spawner.sock';
  for (const method of ['ListLeases', 'ReleaseLease', 'AdoptHome', 'FixHome']) {
    const bytes = frame({ id: 1, method, params: { key: 'anna', home_is_gone: true, offset: 0 } });
    t.match(await sendRaw(machine, hubs, as('metalhub'), bytes), CLOSED, method);
  }
});

t.test('a lease is not released while a unit or the home of its key exists', async (t) => {
  await machine.run(['hubctl', 'start', 'bob'], { timeoutMs: 120_000 });
  t.match(await leaseOf('bob'), { running: true, home: true });
  t.match(await hubctl(['leases', 'release', 'bob']), {
    code: 1,
    stderr: /unit jupyter-bob\.\S+ exists.*\n.*hubctl stop/,
  });
  await machine.run(['hubctl', 'stop', 'bob']);
  for (const flag of [[], ['--home-is-gone']]) {
    t.match(await hubctl(['leases', 'release', 'bob', ...flag]), {
      code: 1,
      stderr: /its home \S+\/bob exists\n +keep it/,
    });
  }
  t.match(await hubctl(['leases', 'release', 'zoe']), { code: 1, stderr: /no uid is leased to key zoe/ });
  t.match(await leaseOf('bob'), { uid: 70_001, state: 'leased' });
});

t.test('nor while no home at all is to be seen, unless the administrator vouches for it', async (t) => {
  await machine.run(['mount', '-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', HOMES]);
  t.match(await hubctl(['leases', 'release', 'bob']), { code: 1, stderr: /no home of anybody.*\n.*--home-is-gone/ });
  await machine.run(['umount', HOMES]);
});

t.test('a released key is free for another login, whose uid is a new one, and it is logged who did it', async (t) => {
  await machine.run(['mv', `${HOMES}/bob`, '/srv/bob']);
  const since = await machine.cursor();
  t.match(await hubctl(['leases', 'release', 'bob'], 'olga'), {
    code: 0,
    stdout: 'released bob; uid 70001 stays taken\n',
  });
  const uid = (await machine.run(['id', '-u', 'olga'])).trim();
  const entries = await machine.journal({ identifier: 'hub-spawner', since });
  t.match(
    entries.find(({ message }) => message === 'lease released'),
    {
      fields: { METALHUB_USER: 'bob', METALHUB_PEER: new RegExp(`^uid=${uid} pid=[0-9]+$`) },
    },
  );
  t.equal((await machine.exec(['getent', 'passwd', 'jupyter-bob'])).code, 2, 'the account is gone with it');
  t.match(
    (await leases()).leases.find(({ key }) => key === 'bob'),
    { uid: 70_001, state: 'released' },
  );
  await machine.run(['systemctl', 'restart', 'hub-spawner']);
  await machine.run(['hubctl', 'start', 'bob'], { timeoutMs: 120_000 });
  t.match(await leaseOf('bob'), { uid: 70_003, state: 'leased', running: true });
  t.equal((await machine.run(['id', '-u', 'jupyter-bob'])).trim(), '70003');
  await machine.run(['hubctl', 'stop', 'bob']);
});

t.test('when the leases are lost, nobody is let in, and doctor says what to do', async (t) => {
  await machine.shell(`systemctl stop hub-spawner; mv ${LEASES} /srv/leases.json`);
  const refused = await hubctl(['start', 'anna']);
  t.match(refused, {
    code: 1,
    stdout: /uid leases are lost: \S+leases\.json names none, but there are homes of 3 users/,
  });
  t.match(refused.stderr, /backup.*hubctl leases adopt/);
  t.match(await leases(), { lost: true });
  t.match((await hubctl(['leases'])).stdout, /^anna +- +- +no lease .* yes +no$/m);
  t.match(await hubctl(['doctor']), { code: 1, stdout: /FAILED +uid leases: are lost.*\n +→ .*hubctl leases adopt/ });
  t.equal((await machine.exec(['test', '-e', LEASES])).code, 1, 'no new file is begun');

  await machine.run(['cp', '/srv/leases.json', LEASES]);
  await machine.run(['hubctl', 'start', 'anna'], { timeoutMs: 120_000 });
  t.equal((await machine.run(['id', '-u', 'jupyter-anna'])).trim(), '70000', 'put back, all is as it was');
  await machine.run(['hubctl', 'stop', 'anna']);
});

t.test('without a backup the homes are adopted, with the uids that are still known', async (t) => {
  await machine.run(['systemctl', 'stop', 'hub-spawner']);
  await machine.shell(`rm ${LEASES}
    rm /run/userdb/*jupyter-cleo* /run/userdb/70002.*
    chown -R 70004:70004 ${HOMES}/cleo
    cp -a ${HOMES}/bob ${HOMES}/dora`);
  const adopted = await hubctl(['leases', 'adopt']);
  t.match(adopted, { code: 1, stdout: /^anna: leased to pam:anna, uid 70000 \(its uid, from its account record\)$/m });
  t.match(adopted.stdout, /^bob: leased to pam:bob, uid 70003 \(its uid, from its account record\)$/m);
  t.match(adopted.stdout, /^cleo: leased to pam:cleo, uid 70004 \(its uid, from the owner of the home\)$/m);
  t.match(adopted.stdout, /^dora: whose it is is not known: add --login pam:NAME$/m);
  for (const name of ['anna', 'cleo']) {
    await machine.run(['hubctl', 'start', name], { timeoutMs: 120_000 });
    await machine.run(['hubctl', 'stop', name]);
  }
  await createUser(machine, 'dora', 'correct horse', { groups: ['metalhub-users'] });
  await new Visitor().logIn('dora', 'correct horse');
  t.match(await hubctl(['start', 'dora']), { code: 1, stdout: /home directory \S+dora was there before its user/ });
  t.match(await hubctl(['leases', 'adopt', 'dora', '--login', 'pam:dora', '--uid', '70003']), {
    code: 1,
    stdout: /uid 70003 was leased to somebody else/,
  });
  t.match(await hubctl(['leases', 'adopt', 'dora', '--login', 'oidc:dora']), { code: 0, stdout: /\(a new uid\)/ });
  t.match(await hubctl(['start', 'dora']), { code: 1, stdout: /key dora is leased to another identity/ });
  t.match(await leases(), { lost: false });
});

t.test('a damaged file is named with the place, is left as it is, and lets nobody in', async (t) => {
  const good = await machine.readFile(LEASES);
  const damaged = good.replace('"uid": 70003', '"uid" 70003');
  await machine.run(['systemctl', 'stop', 'hub-spawner']);
  await machine.writeFile(LEASES, damaged, 0o600);
  t.match(await hubctl(['start', 'anna']), {
    code: 1,
    stdout: /leases\.json: line [0-9]+, column [0-9]+: it is not JSON/,
  });
  t.match(await hubctl(['leases']), { code: 1, stderr: /leases\.json: line [0-9]+.*\n.*backup/ });
  t.match(await hubctl(['doctor']), { code: 1, stdout: /FAILED +uid leases: .*leases\.json: line/ });
  t.equal(await machine.readFile(LEASES), damaged);
  await machine.writeFile(LEASES, good, 0o600);
  await machine.run(['hubctl', 'start', 'anna'], { timeoutMs: 120_000 });
});

t.test('who has a server running keeps key and home when the database of the hub is lost', async (t) => {
  t.match(await machine.run(['getent', 'passwd', 'jupyter-anna']), /:70000:70000:[^:]*:\/:/, 'systemd answers');
  const units = 'hub.socket hub-admin.socket hub.service';
  await machine.shell(`systemctl stop ${units}; rm /var/lib/metalhub/hub/hub.sqlite*; systemctl start ${units}`);
  await new Visitor().logIn('anna', 'correct horse');
  const { users } = JSON.parse(await machine.run(['hubctl', 'users', '--json']));
  t.match(users, [{ name: 'anna', key: 'anna' }]);
});

t.test('a range of uids that others may use is a mistake that config check and doctor name', async (t) => {
  t.match(await hubctl(['config', 'check']), { code: 0, stdout: /no mistakes/ });
  await machine.shell('cp /etc/subuid /srv/subuid; echo eve:90000:65536 >>/etc/subuid');
  t.match(await hubctl(['config', 'check']), {
    code: 78,
    stdout: /problem: uids 70000-99999.*\/etc\/subuid gives 90000-155535 of eve.*→/,
  });
  const checked = JSON.parse((await hubctl(['config', 'check', '--json'])).stdout);
  t.match(checked, { ok: false, problems: [/90000-155535 of eve/] });
  t.match(await hubctl(['doctor']), { code: 1, stdout: /FAILED +uids for users.*90000-155535 of eve.*\n +→ / });
  await machine.shell('cp /srv/subuid /etc/subuid; groupadd --gid 70500 taken');
  t.match(await hubctl(['config', 'check']), { code: 0, stdout: /warning: .*passed over: taken \(70500\)/ });
  await machine.run(['groupdel', 'taken']);
});

t.test('the journal has no unexpected warnings', async () => {
  await machine.assertCleanJournal([
    /hub-spawner .*connection refused/,
    /hub .*(start failed|did not start|the database knows nothing of)/,
  ]);
});
