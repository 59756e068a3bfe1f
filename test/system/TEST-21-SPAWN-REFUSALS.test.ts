import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { frame, sendRaw } from '../lib/raw-caller.js';
import { testStarts } from '../lib/spawn-cases.js';
import {
  connectSpawner,
  connectSpawnerAdmin,
  failureOf,
  installSpawner,
  type SpawnerClient,
  startParams,
} from '../lib/spawner.js';

const HOMES = '/var/lib/private/metalhub/home';

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await machine.run(['useradd', '--create-home', '--shell', '/bin/bash', 'eve']);
  await installSpawner(machine);
  spawner = await connectSpawner(machine);
  await spawner.call('StartServer', startParams('anna'));
});

t.teardown(async () => {
  spawner?.close();
  await machine?.stop();
});

/** What an account gets that sends the bytes to the spawner. */
function tryToConnect(prefix: readonly string[], bytes = ''): Promise<string> {
  return sendRaw(machine, '/run/metalhub/spawner.sock', prefix, bytes);
}

const list = frame({ id: 1, method: 'List', params: {} });

t.test('S01: only the hub is heard', async (t) => {
  t.equal(await tryToConnect([], list), 'answer', 'root is');
  t.equal(await tryToConnect(['setpriv', '--reuid=metalhub', '--regid=metalhub', '--clear-groups'], list), 'answer');
  t.equal(await tryToConnect(['setpriv', '--reuid=eve', '--regid=eve', '--clear-groups'], list), 'PermissionError');
  t.equal(
    await tryToConnect(['setpriv', '--reuid=metalhub-proxy', '--regid=metalhub-proxy', '--clear-groups'], list),
    'PermissionError',
  );
  t.equal(
    await tryToConnect(['setpriv', '--reuid=metalhub', '--regid=nogroup', '--clear-groups'], list),
    'PermissionError',
    'not the hub without its group',
  );
  const anna = await JupyterServer.of(machine, 'anna');
  t.match(
    await anna.shell(
      'python3 -c "import socket; socket.socket(socket.AF_UNIX).connect(\'/run/metalhub/spawner.sock\')"',
    ),
    {
      code: 1,
      output: /FileNotFoundError|PermissionError/,
    },
  );
});

t.test('S01: who has the group without being the hub is refused, and logged with uid and pid', async (t) => {
  const since = await machine.cursor();
  t.match(
    await tryToConnect(['setpriv', '--reuid=eve', '--regid=metalhub', '--clear-groups'], list),
    /^(closed|ConnectionResetError|BrokenPipeError)$/,
  );
  const [entry] = await machine.journal({ identifier: 'hub-spawner', since });
  t.match(entry, { message: 'connection refused', priority: 4 });
  const uid = (await machine.run(['id', '-u', 'eve'])).trim();
  t.match(entry?.fields['METALHUB_PEER'], new RegExp(`^uid=${uid} pid=[0-9]+$`));
});

t.test('S01: a malformed message closes the connection, also of root, and is logged with the peer', async (t) => {
  const bad = [
    '\xff\xff\xff\xff',
    '\0\0\0\x01x',
    '\0\0\0\x02\xff\xff',
    frame([]),
    frame({ id: 1, method: 'Exec', params: {} }),
    frame({ id: 1, method: 'List', params: {}, more: 1 }),
    frame({ id: 1, method: '__proto__', params: {} }),
  ];
  for (const bytes of bad) {
    const since = await machine.cursor();
    t.match(await tryToConnect([], bytes), /^(closed|ConnectionResetError|BrokenPipeError)$/);
    const entries = await machine.journal({ identifier: 'hub-spawner', since });
    t.match(entries, [{ message: 'connection refused', fields: { METALHUB_PEER: /^uid=0 pid=[0-9]+$/ } }]);
    t.notMatch(JSON.stringify(entries), /root:|Exec"/, 'bytes of the peer do not reach the journal');
  }
  t.equal((await spawner.call('List', {})).servers.length, 1, 'others are served on');
});

t.test('S02, S03: names, unknown keys and wrong types are refused before anything is done', async (t) => {
  const names = [
    'root',
    '0',
    '65534',
    '+root',
    '-x',
    'metalhub-proxy',
    '..',
    '.',
    'a/b',
    'a.b',
    'a@b',
    'a%n',
    'é',
    'a'.repeat(24),
    'anna\n',
    'a\0',
    '',
    'Anna',
    'a-b',
  ];
  const before = await machine.run(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'jupyter-*']);
  for (const key of names.filter((name) => name !== 'root')) {
    const client = await connectSpawner(machine);
    t.match(
      (await failureOf(client.call('StartServer', startParams('x', { key })))).code,
      /^MH_ERR_WIRE_/,
      `key ${JSON.stringify(key)}`,
    );
  }
  for (const server of ['a/b', '-a', 'A', 'a_b', 'a'.repeat(32), 'a\n', '..', 'a:b']) {
    const client = await connectSpawner(machine);
    t.match(
      (await failureOf(client.call('StartServer', startParams('x', { server })))).code,
      /^MH_ERR_WIRE_/,
      `server ${JSON.stringify(server)}`,
    );
  }
  for (const extra of [
    'User',
    'ExecStartPre',
    'BindPaths',
    'Slice',
    'Delegate',
    'RootDirectory',
    'environment',
    'memory_max',
  ]) {
    const client = await connectSpawner(machine);
    const params = { ...startParams('x'), [extra]: '1' };
    t.match((await failureOf(client.call('StartServer', params))).code, /^MH_ERR_WIRE_/, extra);
  }
  const unknown = await failureOf(spawner.call('StartServer', startParams('x', { profile: 'none' })));
  t.equal(unknown.code, 'MH_ERR_SPAWN_PROFILE');
  t.equal(await machine.run(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'jupyter-*']), before);
});

testStarts(() => ({ machine, spawner }));

t.test('S08: hard links, links, pipes and devices in a home lead a start nowhere', async (t) => {
  await machine.shell(`
    echo bait > /var/lib/bait && chmod 600 /var/lib/bait
    install -d -m 0700 -o 65534 -g 65534 ${HOMES}/baited
    cd ${HOMES}/baited
    ln /var/lib/bait hard; ln -s /etc/shadow soft; mkfifo pipe; mknod device c 1 3
    chown -h 65534:65534 . pipe soft`);
  const look = ['sh', '-c', `stat -c '%n %u %g %a %F %h' /var/lib/bait /etc/shadow ${HOMES}/baited/*`];
  const before = await machine.run(look);
  t.match(
    await failureOf(spawner.call('StartServer', startParams('baited'))),
    { code: 'MH_ERR_SPAWN_HOME_UNLEASED', hint: /hubctl leases adopt baited/ },
    'a home that nobody has said to be theirs',
  );
  const admin = await connectSpawnerAdmin(machine);
  await admin.call('AdoptHome', { key: parseKey('baited'), identity: parseIdentity('pam:baited'), uid: null });
  admin.close();
  await spawner.call('StartServer', startParams('baited'));
  t.equal(await machine.run(look), before);
  const baited = await JupyterServer.of(machine, 'baited');
  t.match(await baited.shell('cd; cat hard; cat soft; cat device; chmod 777 hard'), {
    output: /(?:.*Permission denied\n){3}.*Operation not permitted/,
  });
  t.equal(await machine.run(look), before);
  const { key, server } = startParams('baited');
  await spawner.call('StopServer', { key, server });
});

t.test('S10: units of others with the name are left alone', async (t) => {
  await machine.writeFile('/etc/systemd/system/jupyter-fixed.service', '[Service]\nExecStart=/bin/sleep infinity\n');
  await machine.writeFile(
    '/etc/systemd/system/jupyter-plug.socket',
    '[Socket]\nListenStream=/run/plug.sock\nAccept=yes\n',
  );
  await machine.shell(
    'systemctl daemon-reload; systemctl start jupyter-fixed; systemd-run --unit=jupyter-strange sleep infinity',
  );
  for (const key of ['fixed', 'plug', 'strange']) {
    t.equal(
      (await failureOf(spawner.call('StartServer', startParams(key)))).code,
      'MH_ERR_SPAWN_UNIT_FOREIGN',
      `start ${key}`,
    );
  }
  for (const key of ['fixed', 'strange']) {
    const { key: checked, server } = startParams(key);
    t.equal(
      (await failureOf(spawner.call('StopServer', { key: checked, server }))).code,
      'MH_ERR_SPAWN_UNIT_FOREIGN',
      `stop ${key}`,
    );
    t.equal((await machine.run(['systemctl', 'is-active', `jupyter-${key}.service`])).trim(), 'active');
  }
  const { servers } = await spawner.call('List', {});
  t.same(
    servers.map(({ key }) => key),
    ['anna'],
  );
});

t.test('an account that has the name or the number is never run as', async (t) => {
  await machine.run(['useradd', '--no-create-home', 'jupyter-backup']);
  const error = await failureOf(spawner.call('StartServer', startParams('backup')));
  t.equal(error.code, 'MH_ERR_SPAWN_ACCOUNT');
  t.match(error.hint, 'getent passwd jupyter-backup');
  const leases = JSON.parse(await machine.readFile('/var/lib/metalhub/spawner/leases.json')).leases;
  const next = Math.max(...leases.map(({ uid }: { uid: number }) => uid)) + 1;
  await machine.run(['groupadd', '--gid', String(next), 'taken']);
  await spawner.call('StartServer', startParams('cleo'));
  t.equal(
    (await machine.run(['systemctl', 'show', '-P', 'UID', 'jupyter-cleo.service'])).trim(),
    String(next + 1),
    'the next free number',
  );
  const { key, server } = startParams('cleo');
  await spawner.call('StopServer', { key, server });
});

t.test('damaged leases refuse starts, and are left as they are', async (t) => {
  const file = '/var/lib/metalhub/spawner/leases.json';
  const good = await machine.readFile(file);
  await machine.writeFile(file, good.slice(0, -20), 0o600);
  await machine.run(['systemctl', 'restart', 'hub-spawner.service']);
  const client = await connectSpawner(machine);
  t.equal((await failureOf(client.call('StartServer', startParams('dora')))).code, 'MH_ERR_SPAWN_LEASES');
  t.equal((await client.call('List', {})).servers.length, 1, 'what runs is still seen');
  t.equal(await machine.readFile(file), good.slice(0, -20));
  await machine.writeFile(file, good, 0o600);
  await client.call('StartServer', startParams('anna'));
});
