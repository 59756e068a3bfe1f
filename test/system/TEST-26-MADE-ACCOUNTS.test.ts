import t from 'tap';
import { createUser } from '../lib/deb.js';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { connectSpawner, failureOf, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const EPHEMERAL = `
[[login]]
method = "pam"
allow = { groups = ["metalhub-users"] }
[[profile]]
name = "dynamic"
[[profile]]
name = "exam"
home = "ephemeral"
[[profile]]
name = "local-exam"
account_mode = "local"
home = "ephemeral"
`;

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  await machine.shell('groupadd --force metalhub-users && groupadd docker && groupadd project');
  await createUser(machine, 'bob', 'correct horse', { groups: ['metalhub-users'] });
  await machine.writeFile(CONFIG, EPHEMERAL);
  await machine.run(['systemctl', 'reload-or-restart', 'hub-spawner']);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=80']));
  await machine?.stop();
});

t.test('an ephemeral home is filled, usable, apart from the kept one, and gone with the server', async (t) => {
  const dora = startParams('dora');
  const { key, server } = dora;
  await spawner.call('StartServer', startParams('dora', { profile: 'dynamic' }));
  await (await JupyterServer.of(machine, 'dora')).shell('echo kept >~/kept');
  await spawner.call('StopServer', { key, server });

  const exam = startParams('dora', { profile: 'exam' });
  for (const round of [1, 2]) {
    await spawner.call('StartServer', exam);
    const inside = await JupyterServer.of(machine, 'dora');
    const { output } = await inside.shell(`
      id -un; echo "$HOME"; ls -d ~/.bashrc ~/kept ~/answers 2>/dev/null; ls /var/lib/metalhub/home; echo secret-${round} >~/answers
      printf '#!/bin/sh\necho runs' >~/x && chmod +x ~/x && ~/x; stat -f -c %T ~`);
    const home = '/var/lib/metalhub/home/dora';
    t.equal(output, `jupyter-dora\n${home}\n${home}/.bashrc\ndora\nruns\ntmpfs\n`, `round ${round}`);
    // Whatever ends it.
    if (round === 1) await machine.run(['systemctl', 'kill', '--signal=SIGKILL', 'jupyter-dora.service']);
    await spawner.call('StopServer', { key, server });
  }
  t.equal((await machine.exec(['grep', '-rls', 'secret-[12]', '/var/lib', '/tmp', '/var/tmp', '/run'])).stdout, '');
  await spawner.call('StartServer', startParams('dora', { profile: 'dynamic' }));
  t.equal(
    (await (await JupyterServer.of(machine, 'dora')).shell('cat ~/kept; ls ~/answers')).output.split('\n')[0],
    'kept',
  );

  await spawner.call('StartServer', startParams('bob', { profile: 'local-exam' }));
  const bob = await JupyterServer.of(machine, 'bob');
  const { output } = await bob.shell('id -un; echo ~; ls ~; ls /home; echo mine >~/answers');
  t.equal(output, 'bob\n/home/bob\nbob\n');
  t.notOk((await machine.exec(['test', '-e', '/home/bob/answers'])).code === 0, 'the real home is as it was');
  await spawner.call('StopServer', { key: startParams('bob').key, server });
});

t.test('an account is made at the first start, by systemd, and is the user\u2019s from then on', async (t) => {
  await machine.writeFile(CONFIG, '[accounts]\nmode = "create"\n');
  await machine.run(['systemctl', 'reload-or-restart', 'hub-spawner']);
  const fred = startParams('fred', { identity: 'oidc:fred@example.org' });
  const gwen = startParams('gwen', { identity: 'oidc:gwen' });
  const { key, server } = fred;
  await machine.shell(
    "useradd -D --inactive 3 --expiredate 2001-01-01; sed -i 's/^PASS_MAX_DAYS.*/PASS_MAX_DAYS 1/' /etc/login.defs",
  );
  // As when the machine stopped while the account was made.
  await machine.run(['mkdir', '--mode=700', '/home/jupyter-gwen']);
  await Promise.all([fred, gwen].map((params) => spawner.call('StartServer', params)));
  const inside = await JupyterServer.of(machine, 'fred');
  const { output } = await inside.shell('id -un; id -Gn; echo ~; ls /home; ls -d ~/.bashrc; echo mine >~/mine');
  const home = '/home/jupyter-fred';
  t.equal(output, `jupyter-fred\njupyter-fred\n${home}\njupyter-fred\n${home}/.bashrc\n`);
  const [, , uid, gid] = (await machine.run(['grep', '^jupyter-fred:', '/etc/passwd'])).split(':');
  t.equal(uid, gid);
  const leases = JSON.parse(await machine.readFile('/var/lib/metalhub/spawner/leases.json')).leases as {
    key: string;
  }[];
  t.match(
    leases.find((lease) => lease.key === 'fred'),
    { uid: Number(uid), identity: 'oidc:fred@example.org' },
  );
  t.equal(await machine.run(['stat', '-c', '%U %G %a', home]), 'jupyter-fred jupyter-fred 700\n');
  t.equal(
    await machine.run(['stat', '-c', '%U %G %a', '/home/jupyter-gwen', '/home/jupyter-gwen/.bashrc']),
    'jupyter-gwen jupyter-gwen 700\njupyter-gwen jupyter-gwen 600\n',
  );

  t.match(
    await machine.run(['grep', '^jupyter-fred:', '/etc/shadow']),
    /^jupyter-fred:!:\d+:0::7:::\n$/,
    'no rule for passwords ever locks it out',
  );

  await spawner.call('StopServer', { key, server });
  await machine.run(['usermod', '--append', '--groups', 'project', 'jupyter-fred']);
  await spawner.call('StartServer', fred);
  t.equal(
    (await (await JupyterServer.of(machine, 'fred')).shell('id -Gn; cat ~/mine')).output,
    'jupyter-fred project\nmine\n',
  );
  t.match(await machine.exec(['hubctl', 'exec', 'fred', '--', 'id', '-un']), { code: 0, stdout: 'jupyter-fred\n' });
  t.equal(await machine.run(['stat', '-c', '%F', '/run/dbus/system_bus_socket']), 'socket\n');
  t.match(
    await machine.exec(['hubctl', 'exec', 'fred', '--', 'stat', '/run/dbus/system_bus_socket']),
    { code: 1, stderr: /Permission denied/ },
    'the way to a lingering systemd --user',
  );
  await spawner.call('StopServer', { key, server });

  const released = await machine.exec(['hubctl', 'leases', 'release', 'fred', '--home-is-gone']);
  t.match(released, { code: 1, stderr: /userdel --remove jupyter-fred/ });
  await machine.run(['usermod', '--append', '--groups', 'docker', 'jupyter-fred']);
  t.match(await failureOf(spawner.call('StartServer', fred)), { code: 'MH_ERR_SPAWN_LOCAL', message: /docker/ });
  await machine.run(['userdel', 'jupyter-fred']);
  await machine.run(['useradd', '--uid', '4321', 'jupyter-fred']);
  t.match(await failureOf(spawner.call('StartServer', fred)), { code: 'MH_ERR_SPAWN_LOCAL', message: /leased/ });
});
