import type { ServerStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { connectSpawner, failureOf, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

const CONFIG = '/etc/metalhub/metalhub.toml.d/50-test.toml';
const PROFILES = `
[server]
start_timeout_sec = 12
stop_timeout_sec = 2

[[profile]]
name = "default"

${['hang', 'stays', 'exits', 'loud', 'absent', 'bare', 'old', 'notexec']
  .map((name) => `[[profile]]\nname = "${name}"\npython = "/opt/test/${name}/bin/python"\n`)
  .join('\n')}`;

/** Takes three seconds to be ready, and as long as it may to end. */
const STAYS = `#!/usr/bin/python3 -I
import os, signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(3)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    signal.pause()
`;
/** systemd itself may take its time to come back to the bus; longer than a request waits for it. */
const BUS_IS_BACK =
  "timeout 60 sh -c 'until busctl --auto-start=no status org.freedesktop.systemd1 >/dev/null 2>&1; do sleep 0.1; done'";

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await machine.writeFile(CONFIG, PROFILES);
  await machine.writeFile('/opt/test/stays/bin/python', STAYS, 0o755);
  await machine.shell(`
    program() { mkdir -p "/opt/test/$1/bin"; printf '#!/bin/sh\\n%s\\n' "$2" > "/opt/test/$1/bin/python"; chmod 755 "/opt/test/$1/bin/python"; }
    program hang 'exec sleep 1000'
    program exits 'exit 7'
    program loud 'cat "$CREDENTIALS_DIRECTORY/server.json"; exit 1'
    program notexec true; chmod 644 /opt/test/notexec/bin/python
    python3 -m venv --without-pip /opt/test/bare
    python3 -m venv --without-pip /opt/test/old
    site=$(echo /opt/test/old/lib/python3*/site-packages)
    mkdir $site/jupyter_server; echo '__version__ = "1.24.0"' > $site/jupyter_server/__init__.py`);
  await installSpawner(machine);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  await machine?.stop();
});

async function killSpawner(): Promise<void> {
  await machine.run(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'hub-spawner.service']);
  await spawner.closed;
}

async function unitsOf(key: string): Promise<string> {
  return machine.run([
    'systemctl',
    'list-units',
    '--all',
    '--plain',
    '--no-legend',
    `jupyter-${key}.service`,
    `jupyter-${key}.socket`,
  ]);
}

/** All events of a Watch until the last one fits. */
async function watchUntil(client: SpawnerClient, fits: (status: ServerStatus) => boolean): Promise<ServerStatus> {
  return new Promise((resolve, reject) => {
    client
      .call(
        'Watch',
        {},
        { onEvent: ({ change, server }) => change === 'changed' && server && fits(server) && resolve(server) },
      )
      .catch(reject);
  });
}

const failures = [
  { profile: 'exits', code: 'MH_ERR_SPAWN_EXITED', hint: 'journalctl -u jupyter-exits.service' },
  { profile: 'loud', code: 'MH_ERR_SPAWN_EXITED', hint: 'journalctl -u jupyter-loud.service' },
  { profile: 'absent', code: 'MH_ERR_SPAWN_COMMAND', hint: '/opt/test/absent/bin/python' },
  { profile: 'notexec', code: 'MH_ERR_SPAWN_COMMAND', hint: '/opt/test/notexec/bin/python' },
  {
    profile: 'bare',
    code: 'MH_ERR_SPAWN_JUPYTER_MISSING',
    hint: '/opt/test/bare/bin/python -m pip install --upgrade jupyterlab',
  },
  {
    profile: 'old',
    code: 'MH_ERR_SPAWN_JUPYTER_OLD',
    hint: '/opt/test/old/bin/python -m pip install --upgrade jupyterlab',
  },
];

for (const { profile, code, hint } of failures) {
  t.test(`a server whose Python is "${profile}" fails with ${code} and leaves nothing`, async (t) => {
    const error = await failureOf(spawner.call('StartServer', startParams(profile, { profile })));
    t.equal(error.code, code);
    t.match(error.hint, hint);
    t.equal(await unitsOf(profile), '');
    t.equal(
      await machine.run(['ls', '/run/metalhub/servers', '/run/metalhub-spawner/cred']),
      '/run/metalhub-spawner/cred:\n\n/run/metalhub/servers:\n',
    );
  });
}

t.test('without JupyterLab a start fails within a second or so and names the package', async (t) => {
  const package_ = '/usr/lib/python3/dist-packages/jupyterlab';
  await machine.run(['mv', package_, '/root/jupyterlab']);
  const started = performance.now();
  const error = await failureOf(spawner.call('StartServer', startParams('nolab')));
  t.equal(error.code, 'MH_ERR_SPAWN_JUPYTER_MISSING');
  t.equal(error.hint, 'install it with: apt install jupyterlab');
  t.comment(`${Math.round(performance.now() - started)} ms`);
  t.ok(performance.now() - started < 5000);
  await machine.run(['mv', '/root/jupyterlab', package_]);
});

t.test('a server that is never ready is given up after the time-out', async (t) => {
  const error = await failureOf(spawner.call('StartServer', startParams('hang', { profile: 'hang' })));
  t.equal(error.code, 'MH_ERR_SPAWN_TIMEOUT');
  t.match(error.message, '12 seconds');
  t.equal(await unitsOf('hang'), '');
});

t.test('H09: many starts at once make one server and get one answer', async (t) => {
  const starts = Array.from({ length: 20 }, (_, index) =>
    spawner.call('StartServer', startParams('many', { start_id: String(index).padStart(32, '0') })),
  );
  const ids = new Set((await Promise.all(starts)).map(({ invocation_id, start_id }) => `${invocation_id} ${start_id}`));
  t.equal(ids.size, 1);
  const { key, server } = startParams('many');
  await spawner.call('StopServer', { key, server });
});

t.test('a stop ends a start that is under way', async (t) => {
  const { key, server } = startParams('halt');
  let stopped: Promise<unknown> | undefined;
  const onEvent = ({ stage }: { stage: string }): void => {
    if (stage === 'waiting') stopped = spawner.call('StopServer', { key, server });
  };
  const error = await failureOf(spawner.call('StartServer', startParams('halt', { profile: 'hang' }), { onEvent }));
  t.equal(error.code, 'MH_ERR_SPAWN_CANCELLED');
  t.match(await stopped, { active_state: 'inactive' });
  t.equal(await unitsOf('halt'), '');
});

t.test('a start asked for during a stop is made after it', async (t) => {
  const { key, server } = startParams('twice');
  const first = await spawner.call('StartServer', startParams('twice'));
  const [, second] = await Promise.all([
    spawner.call('StopServer', { key, server }),
    spawner.call('StartServer', startParams('twice', { start_id: 'e'.repeat(32) })),
  ]);
  t.equal(second.active_state, 'active');
  t.not(second.invocation_id, first.invocation_id);
  await spawner.call('StopServer', { key, server });
});

t.test('S12: a stop leaves no process of the user’s, however it hides from signals', async (t) => {
  await spawner.call('StartServer', startParams('hides'));
  const hides = await JupyterServer.of(machine, 'hides');
  await hides.shell(
    `for i in 1 2 3; do setsid nohup bash -c 'trap "" TERM HUP INT; sleep 1000 & disown; sleep 1000; :' >/dev/null 2>&1 & done`,
  );
  t.match((await machine.run(['pgrep', '-u', 'jupyter-hides', '-c', 'sleep'])).trim(), /^[3-6]$/);
  const { key, server } = startParams('hides');
  await spawner.call('StopServer', { key, server });
  t.equal((await machine.exec(['pgrep', '-u', 'jupyter-hides'])).stdout, '');
});

t.test('kill -9 of the spawner during a start: systemd goes on, the next spawner adopts', async (t) => {
  const starting = new Promise<void>((resolve) => {
    const onEvent = ({ stage }: { stage: string }): void => {
      if (stage === 'waiting') resolve();
    };
    spawner.call('StartServer', startParams('orphan'), { onEvent }).catch(() => undefined);
  });
  await starting;
  await killSpawner();
  spawner = await connectSpawner(machine);
  const [listed] = (await spawner.call('List', {})).servers;
  t.match(listed, { key: 'orphan', start_id: startParams('orphan').start_id });
  t.match(listed?.active_state, /^activ/);
  const status = await spawner.call('StartServer', startParams('orphan', { start_id: 'd'.repeat(32) }));
  t.equal(status.active_state, 'active');
  t.equal(status.invocation_id, listed?.invocation_id, 'not started again');
  const orphan = await JupyterServer.of(machine, 'orphan');
  t.equal((await orphan.request('api/status')).status, 200);
  const left = 'for ((tries = 0; tries < 100; tries++)); do [[ $(ls $1) ]] || break; sleep 0.1; done; ls $1';
  const tokens = await machine.run(['bash', '-c', left, 'left', '/run/metalhub-spawner/cred']);
  t.equal(tokens, '', 'the token does not stay behind');
});

t.test('kill -9 of the spawner leaves servers alone; it finds them again', async (t) => {
  const before = (await spawner.call('List', {})).servers;
  await killSpawner();
  spawner = await connectSpawner(machine);
  t.same((await spawner.call('List', {})).servers, before);
});

t.test('Watch tells of a server that is killed, with how; nothing is left of it', async (t) => {
  const watcher = await connectSpawner(machine);
  const failed = watchUntil(watcher, ({ active_state }) => active_state === 'failed');
  await machine.run(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'jupyter-orphan.service']);
  t.match(await failed, { key: 'orphan', result: 'signal', exit_status: 9 });
  watcher.close();
  await spawner.call('StartServer', startParams('orphan'));
});

t.test('Watch tells of a server that its user ends, and the socket goes along', async (t) => {
  const watcher = await connectSpawner(machine);
  const ended = watchUntil(watcher, ({ active_state }) => active_state === 'inactive');
  const orphan = await JupyterServer.of(machine, 'orphan');
  t.equal((await orphan.request('api/shutdown', { method: 'POST' })).status, 200);
  t.match(await ended, { key: 'orphan', result: 'success' });
  t.equal(await unitsOf('orphan'), '');
  watcher.close();
});

t.test('S10: a failed unit of ours that no spawner saw is reset by the next start', async (t) => {
  await spawner.call('StartServer', startParams('left'));
  await machine.run(['systemctl', 'stop', 'hub-spawner.socket', 'hub-spawner.service']);
  await machine.run(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'jupyter-left.service']);
  await machine.shell(
    'for i in $(seq 50); do systemctl is-failed -q jupyter-left.service && exit; sleep 0.1; done; exit 1',
  );
  await machine.run(['systemctl', 'start', 'hub-spawner.socket']);
  spawner = await connectSpawner(machine);
  t.match(await spawner.call('StartServer', startParams('left')), { active_state: 'active' });
});

t.test('S09: restarts of the bus and of systemd, and reloads of its units, are survived', async (t) => {
  // What is at work in a server changes by itself.
  const listed = async () =>
    (await spawner.call('List', {})).servers.map(({ busy: _busy, idle_since_ms: _idle, ...server }) => server);
  const before = await listed();
  for (const command of [
    'systemctl daemon-reexec',
    'for i in $(seq 5); do systemctl daemon-reload; done',
    `systemctl restart dbus.service; ${BUS_IS_BACK}`,
  ]) {
    await machine.shell(command);
    t.same(await listed(), before, command);
    const started = await spawner.call('StartServer', startParams('after'));
    t.equal(started.active_state, 'active', command);
    const { key, server } = startParams('after');
    await spawner.call('StopServer', { key, server });
  }
});

t.test(
  'S09: a bus that is restarted or killed in the middle of a start, then of a stop, changes neither',
  async (t) => {
    const { key, server } = startParams('midway');
    for (const command of ['systemctl restart dbus.service', 'systemctl kill --signal=KILL dbus.service']) {
      const breakBus = (): Promise<string> => machine.shell(`${command}; ${BUS_IS_BACK}`);
      let broken: Promise<string> | undefined;
      const onEvent = ({ stage }: { stage: string }): void => {
        if (stage === 'waiting') broken = breakBus();
      };
      const started = await spawner.call('StartServer', startParams('midway', { profile: 'stays' }), { onEvent });
      t.ok(broken, 'it was in the middle');
      await broken;
      t.equal(started.active_state, 'active', command);
      const shown = await machine.run(['systemctl', 'show', '-P', 'InvocationID', 'jupyter-midway.service']);
      t.equal(shown.trim(), started.invocation_id, 'the one that was being started');
      const [stopped] = await Promise.all([spawner.call('StopServer', { key, server }), breakBus()]);
      t.equal(stopped.active_state, 'inactive', command);
      t.equal(await unitsOf('midway'), '');
    }
  },
);

t.test('a reload with a bad configuration keeps the old one; with a good one the next start has it', async (t) => {
  await machine.writeFile(CONFIG, `${PROFILES}\n[servr]\nx = 1\n`);
  t.not((await machine.exec(['systemctl', 'reload', 'hub-spawner.service'])).code, 0);
  const [entry] = (await machine.journal({ identifier: 'hub-spawner' })).filter(({ message }) =>
    /configuration refused/.test(message),
  );
  t.match(entry?.message, /50-test\.toml:[0-9]+: servr: unknown key/);
  t.match(await spawner.call('StartServer', startParams('left')), { active_state: 'active' });
  await machine.writeFile(
    CONFIG,
    PROFILES.replace('name = "default"', 'name = "default"\ntasks_max = 77\nmemory_max = "1G"\ncpu_quota_percent = 50'),
  );
  await machine.run(['systemctl', 'reload', 'hub-spawner.service']);
  await spawner.call('StartServer', startParams('limits'));
  const shown = await machine.run([
    'systemctl',
    'show',
    '-p',
    'TasksMax',
    '-p',
    'MemoryMax',
    '-p',
    'CPUQuotaPerSecUSec',
    'jupyter-limits.service',
  ]);
  t.same(shown.trim().split('\n').sort(), ['CPUQuotaPerSecUSec=500ms', 'MemoryMax=1073741824', 'TasksMax=77']);
});

t.test('a configuration that others can write is refused', async (t) => {
  await machine.run(['chmod', 'o+w', CONFIG]);
  t.not((await machine.exec(['systemctl', 'reload', 'hub-spawner.service'])).code, 0);
  await machine.run(['chmod', 'o-w', CONFIG]);
  await machine.run(['chmod', 'g+w', '/etc/metalhub']);
  t.not((await machine.exec(['systemctl', 'reload', 'hub-spawner.service'])).code, 0);
  await machine.run(['chmod', 'g-w', '/etc/metalhub']);
  const messages = (await machine.journal({ identifier: 'hub-spawner' })).map(({ message }) => message).join('\n');
  t.match(messages, `${CONFIG}: can be written by others than root`);
  t.match(messages, '/etc/metalhub: can be written by others than root');
});

t.test('R07: with a full disk a new user is refused and nothing is lost; who has a lease still starts', async (t) => {
  const leases = '/var/lib/metalhub/spawner/leases.json';
  await machine.shell(`
    systemctl stop hub-spawner.service
    cp ${leases} /root/leases.json
    mount -t tmpfs -o size=64k,mode=0700 tmpfs /var/lib/metalhub/spawner
    cp -p /root/leases.json ${leases}
    dd if=/dev/zero of=/var/lib/metalhub/spawner/full bs=1k 2>/dev/null || true`);
  spawner = await connectSpawner(machine);
  t.equal((await failureOf(spawner.call('StartServer', startParams('fresh')))).code, 'MH_ERR_SPAWN_DISK_FULL');
  t.match(await spawner.call('StartServer', startParams('many')), { active_state: 'active' });
  t.equal(await machine.readFile(leases), await machine.readFile('/root/leases.json'));
  await machine.run(['rm', '/var/lib/metalhub/spawner/full']);
  await machine.run(['mount', '-t', 'tmpfs', '-o', 'nr_inodes=1,mode=0755', 'tmpfs', '/var/lib/private/metalhub/home']);
  const noInode = await failureOf(spawner.call('StartServer', startParams('homeless')));
  t.equal(noInode.code, 'MH_ERR_SPAWN_DISK_FULL');
  await machine.run(['umount', '/var/lib/private/metalhub/home']);
  t.match(await spawner.call('StartServer', startParams('fresh')), { active_state: 'active' }, 'it recovers by itself');
});

t.test(
  'the spawner leaves a minute after the last request when no server is left, and comes back when asked',
  { timeout: 150_000 },
  async (t) => {
    for (const { key, server } of (await spawner.call('List', {})).servers)
      await spawner.call('StopServer', { key, server });
    const since = await machine.cursor();
    await machine.waitForEntry({ identifier: 'hub-spawner', since }, /leaving/, 90_000);
    await spawner.closed;
    await machine.shell(
      'for i in $(seq 50); do [[ $(systemctl is-active hub-spawner.service) != inactive ]] || exit 0; sleep 0.1; done; exit 1',
    );
    spawner = await connectSpawner(machine);
    t.same(await spawner.call('List', {}), { servers: [] });
  },
);

t.test(
  'the journal holds no complaint but those provoked, and no token but that of a server that printed its own',
  async () => {
    await machine.assertCleanJournal([
      /hub-spawner .*(did not start|configuration refused|server failed|connection refused|home is not noted)/,
      /systemd \[(jupyter-(exits|loud|absent|notexec|bare|old|nolab|hang|halt|hides|orphan|left|homeless|midway)|hub-spawner)\.service\]/,
      // Two seconds are not much for Jupyter to end in on a busy machine.
      /systemd \[jupyter-\w+\.service\] <4> .*(State 'stop-sigterm' timed out|Failed with result 'timeout')/,
    ]);
  },
);
