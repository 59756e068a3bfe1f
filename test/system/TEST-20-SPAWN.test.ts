import t from 'tap';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { connectSpawner, failureOf, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  await machine?.stop();
});

t.test('a start tells its stages in order and ends with a running JupyterLab', async (t) => {
  const stages: string[] = [];
  const status = await spawner.call('StartServer', startParams('anna'), { onEvent: ({ stage }) => stages.push(stage) });
  t.same(stages, ['account', 'home', 'unit', 'waiting']);
  t.match(status, {
    key: 'anna',
    server: '',
    active_state: 'active',
    start_id: startParams('anna').start_id,
    result: 'success',
  });
  t.match(status.invocation_id, /^[0-9a-f]{32}$/);
  const anna = await JupyterServer.of(machine, 'anna');
  t.equal((await anna.request('api/status')).status, 200);
  t.equal((await anna.request('api/status', { token: null })).status, 403, 'not without the token');
  const lab = await anna.request('lab');
  t.equal(lab.status, 200);
  t.match(lab.text, /JupyterLab/);
});

t.test('a notebook cell runs over the kernel WebSocket', async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  t.equal(await anna.python('print(6*7)'), '42');
});

t.test('U04: name, home and the programs that look them up work in the unit', async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  const home = '/var/lib/metalhub/home/anna';
  t.same(await anna.shell('whoami; id -un; id -gn; echo ~; echo $HOME; getent passwd $(id -u) | cut -d: -f6,7'), {
    code: 0,
    output: `jupyter-anna\njupyter-anna\njupyter-anna\n${home}\n${home}\n${home}:/bin/bash\n`,
  });
  t.equal(
    await anna.python('import getpass, os; print(getpass.getuser(), os.path.expanduser("~"))'),
    `jupyter-anna ${home}`,
  );
  const keygen = await anna.shell('ssh-keygen -q -t ed25519 -N "" -f ~/.ssh/id_ed25519 && ls ~/.ssh');
  t.same(keygen, { code: 0, output: 'id_ed25519\nid_ed25519.pub\n' });
  const git =
    'git init -q repo && cd repo && git -c user.name=A -c user.email=a@b commit -q --allow-empty -m first && git log --oneline | wc -l';
  t.same(await anna.shell(git), { code: 0, output: '1\n' });
  t.same(
    await anna.shell(
      'ps -o user= -p $$; free | head -1 | wc -w; python3 -c "import psutil; print(psutil.virtual_memory().total > 0)"',
    ),
    {
      code: 0,
      output: 'jupyter-anna\n6\nTrue\n',
    },
  );
});

t.test(
  'U01: scripts, virtual environments, compiled modules, user packages and git hooks run in the home',
  async (t) => {
    const anna = await JupyterServer.of(machine, 'anna');
    const script = 'printf "#!/bin/sh\\necho ran\\n" > script && chmod +x script && ./script';
    t.same(await anna.shell(script), { code: 0, output: 'ran\n' });
    const venv =
      'python3 -m venv --without-pip env && env/bin/python -c "import sys; print(sys.prefix != sys.base_prefix)"';
    t.same(await anna.shell(venv), { code: 0, output: 'True\n' });
    const module = [
      'd=$(python3 -c "import _ctypes_test" 2>/dev/null || true; python3 -c "import psutil._psutil_linux as m; print(m.__file__)")',
      'mkdir -p mod && cp $d mod/_psutil_linux.so && cd mod && python3 -c "import _psutil_linux as m; print(m.__file__.startswith(\\"/var/lib\\"))"',
    ].join('; ');
    t.same(await anna.shell(module), { code: 0, output: 'True\n' });
    const hook =
      'cd ~/repo && printf "#!/bin/sh\\necho hooked\\n" > .git/hooks/pre-commit && chmod +x .git/hooks/pre-commit && git -c user.name=A -c user.email=a@b commit -q --allow-empty -m second';
    t.match(await anna.shell(hook), { code: 0, output: /hooked/ });
    // What `pip install --user` makes; pip itself would need a package index.
    const user =
      'd=$(python3 -m site --user-site) && mkdir -p $d && echo "answer = 42" > $d/mine.py && python3 -c "import mine; print(mine.answer)"';
    t.same(await anna.shell(user), { code: 0, output: '42\n' });
    t.equal(
      await anna.python('import multiprocessing as m\nwith m.Pool(2) as p: print(p.map(abs, [-1, -2]))'),
      '[1, 2]',
    );
    const shared =
      'from multiprocessing import shared_memory as s\nb = s.SharedMemory(create=True, size=8); print(len(b.buf)); b.close(); b.unlink()';
    t.equal(await anna.python(shared), '8');
  },
);

t.test('a terminal starts in the home and calls it by its name', async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  t.same(await anna.shell('pwd; dirname $PWD'), {
    code: 0,
    output: '/var/lib/metalhub/home/anna\n/var/lib/metalhub/home\n',
  });
  const created = await anna.request('api/terminals', { method: 'POST', body: {} });
  t.equal(created.status, 200);
});

t.test(
  'U07: what users change in their home keeps their server from nothing, and gives nobody else a way in',
  async (t) => {
    const { key, server } = startParams('ursa');
    await spawner.call('StartServer', startParams('ursa'));
    const before = await JupyterServer.of(machine, 'ursa');
    const config = {
      ServerApp: { sock: '', ip: '0.0.0.0', port: 9123, base_url: '/' },
      IdentityProvider: { token: '' },
    };
    const changed = `site=$(python3 -m site --user-site) && mkdir -p $site/jupyterlab $site/tornado ~/bin ~/.jupyter
    echo 'raise SystemExit(9)' | tee $site/sitecustomize.py $site/usercustomize.py $site/jupyterlab/__init__.py >$site/tornado/__init__.py
    printf '#!/bin/sh\\nexit 9\\n' | tee ~/bin/python3 >~/bin/jupyter-lab; chmod +x ~/bin/*
    echo 'PATH=~/bin:$PATH; exit 9' | tee ~/.bashrc ~/.profile >~/.bash_profile
    echo '${JSON.stringify({ ...config, KernelManager: { transport: 'tcp' } })}' >~/.jupyter/jupyter_server_config.json
    echo 'c.ServerApp.allow_root = True' >~/.jupyter/jupyter_server_config.py`;
    t.same(await before.shell(changed), { code: 0, output: '' });
    await spawner.call('StopServer', { key, server });
    t.match(await spawner.call('StartServer', startParams('ursa')), { active_state: 'active' });
    const after = await JupyterServer.of(machine, 'ursa');
    t.equal((await after.request('api/status')).status, 200);
    t.equal((await after.request('api/status', { token: null })).status, 403);
    const exec = await machine.run(['systemctl', 'show', '-P', 'ExecStart', 'jupyter-ursa.service']);
    t.match(exec, 'argv[]=/usr/bin/python3 -I /usr/lib/metalhub/launcher.py ;');
    const uid = (await machine.run(['id', '-u', 'jupyter-ursa'])).trim();
    const ports = await machine.run(['sh', '-c', `ss -Hltne | grep 'uid:${uid} ' || true`]);
    t.equal(ports, '', 'no TCP port');
    await spawner.call('StopServer', { key, server });
  },
);

t.test("systemd's variables do not reach what the user starts", async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  t.same(await anna.shell('env | grep -E "^(LISTEN|NOTIFY|WATCHDOG|CREDENTIALS)" || echo none'), {
    code: 0,
    output: 'none\n',
  });
});

t.test('a server that runs is answered at once with its own start id, and not for another identity', async (t) => {
  const again = await spawner.call('StartServer', startParams('anna', { start_id: 'f'.repeat(32) }));
  t.equal(again.start_id, startParams('anna').start_id);
  const other = await failureOf(spawner.call('StartServer', startParams('anna', { identity: 'oidc:anna' })));
  t.equal(other.code, 'MH_ERR_SPAWN_IDENTITY');
});

t.test('List and Status say the same as systemd', async (t) => {
  const { servers } = await spawner.call('List', {});
  t.equal(servers.length, 1);
  const [listed] = servers;
  t.same(listed, await spawner.call('Status', { key: startParams('anna').key, server: startParams('anna').server }));
  t.equal(
    listed?.invocation_id,
    (await machine.run(['systemctl', 'show', '-P', 'InvocationID', 'jupyter-anna.service'])).trim(),
  );
});

t.test("a home survives a stop and a start, with everything its user's", async (t) => {
  const before = await JupyterServer.of(machine, 'anna');
  await before.shell('echo kept > file');
  const { key, server } = startParams('anna');
  t.match(await spawner.call('StopServer', { key, server }), { active_state: 'inactive', invocation_id: null });
  t.equal((await machine.exec(['systemctl', 'is-active', 'jupyter-anna.socket'])).stdout.trim(), 'inactive');
  t.equal(await machine.run(['ls', '/run/metalhub/servers']), '', 'the socket is gone');
  t.match(await spawner.call('StopServer', { key, server }), { active_state: 'inactive' }, 'a second stop is fine');
  await spawner.call('StartServer', startParams('anna'));
  const after = await JupyterServer.of(machine, 'anna');
  t.same(await after.shell('cat file; find ~/ ! -user jupyter-anna | wc -l'), { code: 0, output: 'kept\n0\n' });
});

t.test('U02: two servers of one user work beside each other on the same home', async (t) => {
  await spawner.call('StartServer', startParams('anna', { server: 'second' }));
  const first = await JupyterServer.of(machine, 'anna');
  const second = await JupyterServer.of(machine, 'anna', 'second');
  await second.shell('echo two > shared');
  t.same(await first.shell('cat shared && echo one >> shared'), { code: 0, output: 'two\n' });
  const { key } = startParams('anna');
  await spawner.call('StopServer', { key, server: startParams('anna').server });
  t.same(await second.shell('cat shared && echo three >> shared'), { code: 0, output: 'two\none\n' });
  await spawner.call('StopServer', { key, server: startParams('anna', { server: 'second' }).server });
});

t.test('nothing is left in systemd of a user whose servers have ended', async (t) => {
  const starts = ['', 'one', 'two'].map((server) => spawner.call('StartServer', startParams('tidy', { server })));
  await Promise.all(starts);
  const slice = ['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'jupyter-tidy*'];
  t.match(await machine.run(slice), /jupyter-tidy\.slice +loaded active/);
  for (const name of ['', 'one', 'two']) {
    const { key, server } = startParams('tidy', { server: name });
    t.match(await machine.run(slice), /jupyter-tidy\.slice +loaded active/);
    await spawner.call('StopServer', { key, server });
  }
  await machine.shell(
    'for i in $(seq 50); do [[ -n $(systemctl list-units --all --no-legend "jupyter-tidy*") ]] || exit 0; sleep 0.1; done; exit 1',
  );
  t.equal(await machine.run(['sh', '-c', 'ls /run/systemd/transient | grep tidy || true']), '');
});

t.test('the longest names there can be work, kernels included', async (t) => {
  const params = startParams('k'.repeat(23), { server: 's'.repeat(31) });
  await spawner.call('StartServer', params);
  const server = await JupyterServer.of(machine, params.key, params.server);
  t.equal(await server.python('print(1)'), '1');
  await spawner.call('StopServer', { key: params.key, server: params.server });
});

t.test('the journal holds no complaint and no token', async (t) => {
  await machine.assertCleanJournal();
  t.notMatch(await machine.run(['journalctl', '--no-pager', '--output=verbose']), /Secret-/);
});
