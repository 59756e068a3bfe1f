import t from 'tap';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { connectSpawner, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

const CONFIG = '/etc/metalhub/metalhub.toml';

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  await machine.shell(`
    mkdir -p /etc/skel/course
    echo 'alias hello="echo hello from skel"' >/etc/skel/.bash_aliases
    echo '# read me' >/etc/skel/course/README.md
    echo secret >/etc/skel/unreadable && chmod 600 /etc/skel/unreadable
    cat >>${CONFIG} <<END
[[profile]]
name = "small"
memory_max = "1G"
cpu_quota_percent = 100
tasks_max = 1000
[[profile]]
name = "large"
memory_max = "3G"
memory_high = "2G"
tasks_max = 500
END`);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  await machine?.stop();
});

async function stop(key: string, server = ''): Promise<void> {
  const params = startParams(key, { server });
  await spawner.call('StopServer', { key: params.key, server: params.server });
}

t.test("a new home has what /etc/skel has, as its user's, and without root's help", async (t) => {
  await spawner.call('StartServer', startParams('anna', { profile: 'small' }));
  const anna = await JupyterServer.of(machine, 'anna');
  const look =
    'cd; cat course/README.md .bash_aliases; stat -c "%U %a %n" .bashrc .profile course course/README.md; ls -a';
  const { output } = await anna.shell(look);
  t.match(output, '# read me\nalias hello=');
  t.match(
    output,
    'jupyter-anna 600 .bashrc\njupyter-anna 600 .profile\njupyter-anna 700 course\njupyter-anna 600 course/README.md\n',
  );
  t.notMatch(output, /metalhub|unreadable/, 'and nothing else');
  t.match(await anna.shell('bash -ic hello'), { output: /hello from skel\n$/ });
  const [entry] = await machine
    .journal({ unit: 'jupyter-anna.service' })
    .then((entries) => entries.filter(({ message }) => /unreadable could not be copied/.test(message)));
  t.match(entry, { priority: 4 });
});

t.test('what the user changed or removed stays so at later starts', async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  await anna.shell('cd; rm -r course; echo mine >.bash_aliases');
  await stop('anna');
  await spawner.call('StartServer', startParams('anna', { profile: 'small' }));
  const again = await JupyterServer.of(machine, 'anna');
  t.match(await again.shell('cd; cat .bash_aliases; ls -d course'), { output: /^mine\nls: .*course.*No such file/ });
});

t.test("limits stand on the user's slice too; a larger profile raises them until the last server ends", async (t) => {
  const limits = async (unit: string): Promise<string> =>
    machine.run([
      'systemctl',
      'show',
      '-P',
      'MemoryMax',
      '-P',
      'MemoryHigh',
      '-P',
      'CPUQuotaPerSecUSec',
      '-P',
      'TasksMax',
      unit,
    ]);
  const small = ['1073741824', 'infinity', '1s', '1000', ''].sort();
  const values = async (unit: string): Promise<string[]> => (await limits(unit)).split('\n').sort();
  t.same(await values('jupyter-anna.service'), small);
  t.same(await values('jupyter-anna.slice'), small);
  await spawner.call('StartServer', startParams('anna', { server: 'big', profile: 'large' }));
  t.same(await values('jupyter-anna.slice'), ['3221225472', 'infinity', 'infinity', '1000', ''].sort());
  t.same(await values('jupyter-anna.service'), small, 'each server keeps its own');
  await stop('anna', 'big');
  await stop('anna');
  await machine.shell(
    'until [ -z "$(systemctl list-units --plain --no-legend jupyter-anna.slice)" ]; do sleep 0.1; done',
  );
  t.equal(
    await machine.shell('find /run/systemd /etc/systemd -path "*jupyter-anna*"'),
    '',
    'nothing of it stays behind',
  );
  await spawner.call('StartServer', startParams('anna', { profile: 'small' }));
  t.same(await values('jupyter-anna.slice'), small);
});

t.test('the journal holds no other complaint', async () => {
  await machine.assertCleanJournal([/unreadable could not be copied/]);
});
