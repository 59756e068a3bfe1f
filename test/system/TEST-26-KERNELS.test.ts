import t from 'tap';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { connectSpawner, failureOf, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const KERNELS = `
[[profile]]
name = "lab"
[[profile.override]]
name = "teachers"
groups = ["teachers"]
variables = { JUPYTER_CONFIG_PATH = "/srv/overlay/config", JUPYTER_PATH = "/srv/overlay/data" }
[[kernel]]
name = "cvmfs"
title = "Static & titled"
environment = "/opt/work"
activate = "/opt/start.sh"
logo = "/opt/logo.svg"
[[kernel_root]]
name = "conda"
path = "/opt/conda"
exclude = ["base", "secret*"]
[[kernel_root]]
name = "venvs"
path = "/opt/venvs"
title = "{environment}: {kernel}"
[[kernel_root]]
name = "own"
path = "~/envs"
`;

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

/** Laid out as conda does it, with a Python of its own. */
const condaEnvironment = (path: string): string => `
  python3 -m venv --without-pip --system-site-packages ${path}
  rm ${path}/bin/activate*
  mkdir -p ${path}/conda-meta ${path}/etc/conda/activate.d
  ${path}/bin/python -m ipykernel install --prefix=${path} >/dev/null`;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  await machine.shell(`
    umask 022
    mkdir -p /opt/conda/conda-meta /opt/conda/bin /opt/conda/envs /opt/venvs /srv/overlay/config/labconfig
    mkdir -p /srv/overlay/data/kernels/taught
    echo '#!/bin/sh' >/opt/conda/bin/conda
    ${condaEnvironment('/opt/conda/envs/torch')}
    cp -a /opt/conda/envs/torch /opt/conda/envs/secret-exam
    cp -a /opt/conda/envs/torch /opt/conda/envs/open && chmod 777 /opt/conda/envs/open/bin
    cd /opt/conda/envs/torch
    echo '{"version": 1, "env_vars": {"FROM_STATE": "a b"}}' >conda-meta/state
    echo 'export FROM_SCRIPT="$CONDA_DEFAULT_ENV sees $FROM_STATE"' >etc/conda/activate.d/torch.sh
    python3 -m venv --without-pip --system-site-packages /opt/venvs/plain
    python3 -m venv --without-pip --system-site-packages /opt/work
    echo 'export STARTED="in $VIRTUAL_ENV"' >/opt/start.sh
    echo '<svg xmlns="http://www.w3.org/2000/svg"/>' >/opt/logo.svg
    echo '{"disabledExtensions": {"@of/teachers:overlay": true}}' >/srv/overlay/config/labconfig/page_config.json
    echo '{"argv": ["x", "{connection_file}"], "display_name": "Taught", "language": "x"}' >/srv/overlay/data/kernels/taught/kernel.json
    cat >>${CONFIG} <<'END'\n${KERNELS}\nEND`);
  await machine.run(['systemctl', 'reload-or-restart', 'hub-spawner']);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=80']));
  await machine?.stop();
});

interface Specs {
  readonly kernelspecs: Readonly<
    Record<string, { spec: { display_name: string }; resources: Readonly<Record<string, string>> }>
  >;
}

async function titlesOf(server: JupyterServer): Promise<Record<string, string>> {
  const { kernelspecs } = JSON.parse((await server.request('api/kernelspecs')).text) as Specs;
  return Object.fromEntries(
    Object.entries(kernelspecs)
      .filter(([name]) => name !== 'python3')
      .map(([name, { spec }]) => [name, spec.display_name]),
  );
}

/** Environments are looked for when Jupyter asks for kernels, at a distance of some seconds. */
async function untilOffered(server: JupyterServer, name: string): Promise<Record<string, string>> {
  for (const endMs = Date.now() + 60_000; ; ) {
    const titles = await titlesOf(server);
    if (name in titles || Date.now() > endMs) return titles;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

t.test(
  'environments are kernels, activated as conda and venv do it, and nothing is written into the home',
  async (t) => {
    await spawner.call(
      'StartServer',
      startParams('anna', { profile: 'lab', kernels: ['cvmfs', 'conda', 'venvs', 'own'] }),
    );
    const anna = await JupyterServer.of(machine, 'anna');
    const titles = {
      cvmfs: 'Static & titled',
      'conda-env-torch-py': 'Python 3 (torch)',
      'venv-plain-py': 'plain: Python 3',
    };
    t.same(await untilOffered(anna, 'venv-plain-py'), titles);

    const print = (names: string) =>
      anna.python(`import os, sys; print(sys.prefix, *[os.environ.get(name) for name in "${names}".split()], sep="|")`);
    await anna.useKernel('conda-env-torch-py');
    const conda = 'CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_SHLVL CONDA_EXE FROM_STATE FROM_SCRIPT';
    const torch = '/opt/conda/envs/torch';
    t.equal(await print(conda), `${torch}|${torch}|torch|1|/opt/conda/bin/conda|a b|torch sees a b`);
    const { output } = await anna.shell(`command -v python
    python -c 'from jupyter_client.kernelspec import find_kernel_specs; print(*find_kernel_specs())'`);
    t.match(output, `${torch}/bin/python\n`);
    t.match(output, /\bconda-env-torch-py\b/, 'programs that it runs see the same');
    await anna.useKernel('venv-plain-py');
    t.equal(await print('VIRTUAL_ENV CONDA_PREFIX'), '/opt/venvs/plain|/opt/venvs/plain|None');
    await anna.useKernel('cvmfs');
    t.equal(await print('VIRTUAL_ENV STARTED'), '/opt/work|/opt/work|in /opt/work');
    t.match(await anna.request('kernelspecs/cvmfs/logo-svg.svg'), { status: 200, text: /<svg/ });
    t.equal((await anna.request('kernelspecs/conda-env-torch-py/logo-64x64.png')).status, 200);

    t.equal(
      (await anna.shell('ls -A ~/.local/share/jupyter/kernels ~/.jupyter 2>&1 | grep -c kernel.json')).output,
      '0\n',
    );
    t.match(
      await machine.run(['journalctl', '-u', 'jupyter-anna.service']),
      /no kernels of \/opt\/conda\/envs\/open are offered/,
    );
  },
);

t.test('an environment that was just made is offered without a restart, and one of the user\u2019s own', async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  await machine.shell(condaEnvironment('/opt/conda/envs/new'));
  t.match(await untilOffered(anna, 'conda-env-new-py'), { 'conda-env-new-py': 'Python 3 (new)' });
  await anna.shell('python3 -m venv --without-pip --system-site-packages ~/envs/mine');
  t.match(await untilOffered(anna, 'venv-mine-py'), { 'venv-mine-py': 'Python 3 (mine)' });
  await anna.useKernel('venv-mine-py');
  t.equal(await anna.python('import sys; print(sys.prefix)'), '/var/lib/metalhub/home/anna/envs/mine');
});

t.test('who is offered none has none, and settings of an override are laid over those of the machine', async (t) => {
  await spawner.call('StartServer', startParams('bob', { profile: 'lab' }));
  const bob = await JupyterServer.of(machine, 'bob');
  t.same(await titlesOf(bob), {});
  t.notMatch((await bob.request('lab')).text, '@of/teachers:overlay');
  await spawner.call('StartServer', startParams('cleo', { profile: 'lab', override: 'teachers', kernels: ['venvs'] }));
  const cleo = await JupyterServer.of(machine, 'cleo');
  t.same(await untilOffered(cleo, 'venv-plain-py'), { taught: 'Taught', 'venv-plain-py': 'plain: Python 3' });
  t.match((await cleo.request('lab')).text, '@of/teachers:overlay');
});

t.test('S03: the hub can name kernels of root\u2019s configuration only', async (t) => {
  const wrong = startParams('dora', { profile: 'lab', kernels: ['conda', 'evil'] });
  t.match(await failureOf(spawner.call('StartServer', wrong)), {
    code: 'MH_ERR_SPAWN_KERNEL',
    details: { kernel: 'evil' },
  });
});
