import t from 'tap';
import { HomeMachine } from '../lib/home-cases.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { frame, sendRaw } from '../lib/raw-caller.js';
import { unitProperty, until } from '../lib/server-start.js';
import { testStarts } from '../lib/spawn-cases.js';
import { installSpawner, startParams } from '../lib/spawner.js';
import { installStubs } from '../lib/stub-jupyter.js';

/**
 * Security cases of starts and of users' units, on systemd 252; what is not here needs JupyterLab, or has nothing of systemd in
 * it. Nor is S09: systemd 252 writes `ExecStartEx=` into a transient unit's file and cannot read it back, so after a
 * daemon-reload a server goes on, but as a unit with a bad setting, which the spawner does not take for one of its own.
 */

t.setTimeout(600_000);

let machine: Machine;
let it: HomeMachine;

t.before(async () => {
  machine = await bootMachine({ image: 'bookworm' });
  await installStubs(machine);
  await machine.run(['useradd', '--create-home', '--shell', '/bin/bash', 'eve']);
  await installSpawner(machine);
  it = await HomeMachine.connect(machine);
  await it.start('anna');
});

t.teardown(async () => {
  it?.close();
  await machine?.stop();
});

t.test('S01: only the hub is heard', async (t) => {
  const list = frame({ id: 1, method: 'List', params: {} });
  const as = (user: string, group: string): Promise<string> =>
    sendRaw(
      machine,
      '/run/metalhub/spawner.sock',
      ['setpriv', `--reuid=${user}`, `--regid=${group}`, '--clear-groups'],
      list,
    );
  t.equal(await as('metalhub', 'metalhub'), 'answer');
  t.equal(await as('eve', 'eve'), 'PermissionError');
  t.equal(await as('metalhub-proxy', 'metalhub-proxy'), 'PermissionError');
  t.match(await as('eve', 'metalhub'), /^(closed|ConnectionResetError|BrokenPipeError)$/);
});

t.test('U04: name, number and home are true in the unit', async (t) => {
  const uid = await it.uid('anna');
  const look = 'id -u; id -un; python3 -c "import pwd, os; print(pwd.getpwuid(os.getuid()).pw_dir)"';
  const home = '/var/lib/metalhub/home/anna';
  t.same(await it.inside('anna', look), { code: 0, stdout: `${uid}\njupyter-anna\n${home}\n` });
  const pid = await unitProperty(machine, 'jupyter-anna.service', 'MainPID');
  t.match(await machine.run(['sh', '-c', `tr '\\0' '\\n' </proc/${pid}/environ`]), `HOME=${home}\n`);
});

t.test('U01: scripts, virtual environments and compiled code run in the home', async (t) => {
  const text = `printf '#!/bin/sh\\necho ran\\n' >script; chmod +x script; ./script
    python3 -m venv --without-pip venv && venv/bin/python -c 'print("venv")'
    cp /bin/true compiled && ./compiled && echo compiled
    python3 -c 'import mmap; file = open("compiled", "rb"); mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC); print("mapped")'`;
  t.same(await it.inside('anna', text), { code: 0, stdout: 'ran\nvenv\ncompiled\nmapped\n' });
});

t.test('U02: two servers of one user write the same files while each is restarted in turn', async (t) => {
  const append = 'echo line >>shared && cat shared | wc -l';
  await it.inside('anna', 'rm -f shared');
  let lines = 0;
  for (const server of ['second', 'second']) {
    await it.start('anna', server);
    for (const unit of ['anna', 'anna:second'])
      t.same(await it.inside(unit, append), { code: 0, stdout: `${++lines}\n` }, unit);
    await it.stop('anna', server);
    t.same(await it.inside('anna', append), { code: 0, stdout: `${++lines}\n` });
  }
});

t.test('U03: from one user’s unit nothing of another’s, of the hub’s or of the spawner’s can be reached', async (t) => {
  await it.start('bob');
  const pid = await unitProperty(machine, 'jupyter-bob.service', 'MainPID');
  const sockets = ['servers/bob.sock', 'spawner.sock', 'spawner-admin.sock'].map((name) => `/run/metalhub/${name}`);
  const text = `for path in ${sockets.join(' ')}; do
      python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1]); print("connected")' $path 2>&1 | tail -n 1
    done
    ls /var/lib/metalhub/home/bob/ /var/lib/private/metalhub/home/bob; ls -d /proc/${pid}; cat /proc/${pid}/environ; kill ${pid}`;
  const { stdout } = await it.inside('anna', text);
  const lines = stdout.trim().split('\n');
  t.equal(lines.length, 8, stdout);
  for (const line of lines) t.match(line, /denied|No such file|not permitted/i);
  await it.stop('bob');
});

testStarts(() => it);

t.test('S12: a stop leaves no process of the user’s, however it hides from signals', async (t) => {
  const hiding = `#!/bin/bash
for i in 1 2 3; do setsid nohup bash -c 'trap "" TERM HUP INT; sleep 1000 & disown; sleep 1000; :' >/dev/null 2>&1 & done\n`;
  await it.start('hides');
  await it.inside('hides', `cat >at-start <<'END'\n${hiding}END\nchmod +x at-start`);
  await it.stop('hides');
  await it.start('hides');
  const count = async (): Promise<number> =>
    Number((await machine.exec(['pgrep', '-u', 'jupyter-hides', '-c', 'sleep'])).stdout);
  await until('they hide', async () => (await count()) >= 3);
  await it.stop('hides');
  t.equal((await machine.exec(['pgrep', '-u', await it.uid('hides')])).stdout, '');
});

t.test('S10: a failed unit of ours that no spawner saw is reset by the next start', async (t) => {
  await it.start('left');
  await machine.run(['systemctl', 'stop', 'hub-spawner.socket', 'hub-spawner.service']);
  await machine.run(['systemctl', 'kill', '--signal=KILL', '--kill-whom=main', 'jupyter-left.service']);
  const hasFailed = async (): Promise<boolean> =>
    (await machine.exec(['systemctl', 'is-failed', '-q', 'jupyter-left.service'])).code === 0;
  await until('it failed', hasFailed);
  await machine.run(['systemctl', 'start', 'hub-spawner.socket']);
  await it.reconnect();
  t.match(await it.spawner.call('StartServer', startParams('left')), { active_state: 'active' });
});
