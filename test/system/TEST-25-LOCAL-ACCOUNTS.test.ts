import t from 'tap';
import { createUser } from '../lib/deb.js';
import { JupyterServer } from '../lib/jupyter.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { unitProperty } from '../lib/server-start.js';
import { connectSpawner, failureOf, installSpawner, type SpawnerClient, startParams } from '../lib/spawner.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const LOCAL = `
[accounts]
mode = "local"
[[login]]
method = "pam"
allow = { groups = ["metalhub-users"] }
deny = { users = ["denied"] }
[[profile]]
name = "default"
mounts = [{ source = "/srv/project", write = true }]
[[profile]]
name = "hooked"
before_start = ["/opt/hook"]
[[profile]]
name = "dynamic"
account_mode = "dynamic"
`;
/** One that no file of the machine knows, as those of a directory server. */
const CARLA = { userName: 'carla', uid: 21_001, gid: 21_001, homeDirectory: '/srv/homes/carla', shell: '/bin/bash' };

t.setTimeout(600_000);

let machine: Machine;
let spawner: SpawnerClient;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installSpawner(machine);
  await machine.shell('groupadd --force metalhub-users && groupadd docker && groupadd project');
  for (const name of ['anna', 'bob', 'denied', 'expired', 'homeless']) {
    await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
  }
  await createUser(machine, 'eve', 'correct horse', { groups: ['metalhub-users', 'docker'] });
  await createUser(machine, 'stranger', 'correct horse');
  const record = { 'carla.user': CARLA, 'carla.group': { groupName: 'carla', gid: CARLA.gid } };
  for (const [name, value] of Object.entries(record)) {
    await machine.writeFile(`/etc/userdb/${name}`, JSON.stringify(value));
  }
  await machine.writeFile('/opt/hook', '#!/bin/sh\necho "$(id -un) $HOME $METALHUB_USER" >>"$HOME/hook"\n', 0o755);
  await machine.shell(`
    ln -s carla.user /etc/userdb/${CARLA.uid}.user && ln -s carla.group /etc/userdb/${CARLA.gid}.group
    gpasswd --add carla metalhub-users
    mkdir -p /srv/homes/carla /srv/homes/other /srv/project
    chown carla: /srv/homes/carla && chmod 755 /home/bob && echo theirs >/home/bob/file && chmod 644 /home/bob/file
    chgrp project /srv/project && chmod 2770 /srv/project && gpasswd --add anna project
    chage --expiredate 2020-01-01 expired && mv /home/homeless /home/elsewhere
    echo 'anna hard nofile 4321' >/etc/security/limits.d/anna.conf
    echo 'anna soft nofile 4321' >>/etc/security/limits.d/anna.conf
    echo LANG=C.UTF-8 >/etc/default/locale
    echo 'PATH=/nowhere' >>/etc/environment`);
  await machine.writeFile(CONFIG, LOCAL);
  await machine.run(['systemctl', 'reload-or-restart', 'hub-spawner']);
  spawner = await connectSpawner(machine);
});

t.teardown(async () => {
  spawner?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=80']));
  await machine?.stop();
});

t.test('a server runs as the account of the machine: groups, home, shell, limits and a session of PAM', async (t) => {
  await spawner.call('StartServer', startParams('anna'));
  const anna = await JupyterServer.of(machine, 'anna');
  const { output } = await anna.shell(`
    id -un; id -Gn; echo "$HOME $PWD $SHELL $USER $LANG"; ulimit -n; umask
    echo shared >/srv/project/file && stat -c '%U %G' /srv/project/file; touch ~/mine; echo "$PATH"`);
  const lines = output.split('\n');
  t.equal(lines[0], 'anna');
  t.same(lines[1]?.split(' ').sort(), ['anna', 'metalhub-users', 'project']);
  t.same(lines.slice(2, 4), ['/home/anna /home/anna /bin/bash anna C.UTF-8', '4321']);
  t.match(lines[4], /^00.7$/, 'a group of its own may write: pam_umask');
  t.equal(lines[5], 'anna project');
  t.match(lines[6], /^\/home\/anna\/\.local\/bin:.*\/usr\/bin/, 'that of the profile, not of /etc/environment');
  t.equal(await machine.run(['stat', '-c', '%U', '/home/anna/mine']), 'anna\n');
  t.notOk((await machine.exec(['getent', 'passwd', 'jupyter-anna'])).stdout, 'no other account is made');
  const cgroup = '/jupyter.slice/jupyter-anna.slice/jupyter-anna.service';
  t.equal(await anna.python('print(open("/proc/self/cgroup").read().strip().split("::")[1])'), cgroup);
});

t.test('U03: nothing of others is in its sight, and no privilege in its reach', async (t) => {
  const anna = await JupyterServer.of(machine, 'anna');
  const { output } = await anna.shell(`
    ls /home; ls -A /root /run/user /run/metalhub /run/credentials 2>&1 | sort | uniq -c
    cat /home/bob/file; grep -E 'NoNewPrivs|CapBnd|CapEff' /proc/self/status
    su -c id anna </dev/null; touch /usr/x /etc/x; unshare -U true; ls /proc | grep -c '^[0-9]'`);
  t.match(output, /^anna\n/);
  t.notMatch(output, 'theirs');
  t.match(output, /NoNewPrivs:\t1/);
  t.match(output, /CapEff:\t0000000000000000\nCapBnd:\t0000000000000000/);
  t.notMatch(output, 'uid=0');
  t.match(output, /touch: cannot touch '\/usr\/x': Read-only/);
  t.match(output, /unshare: .*Operation not permitted/);
  const security = await machine.run(['systemd-analyze', 'security', '--no-pager', 'jupyter-anna.service']);
  const [, exposure] = /Overall exposure level for \S+: ([0-9.]+)/.exec(security) ?? [];
  t.ok(Number(exposure) <= 2, `exposure ${exposure}`);
});

t.test('an account that only NSS knows works as well, and sees no home beside its own', async (t) => {
  await spawner.call('StartServer', startParams('carla'));
  const carla = await JupyterServer.of(machine, 'carla');
  const { output } = await carla.shell('id -un; echo ~; ls /srv/homes; ls /home; touch ~/x && stat -c %U ~/x');
  t.equal(output, 'carla\n/srv/homes/carla\ncarla\ncarla\n');
  t.equal(await unitProperty(machine, 'jupyter-carla.service', 'UID'), String(CARLA.uid));
  await spawner.call('StopServer', { key: startParams('carla').key, server: startParams('carla').server });
});

t.test('S02: whatever the hub says, no other account is reached', async (t) => {
  const refusals: [identity: string, code: string, reason: RegExp][] = [
    ['pam:eve', 'MH_ERR_SPAWN_LOCAL', /group docker/],
    ['pam:stranger', 'MH_ERR_SPAWN_LOCAL', /not listed in login\.allow/],
    ['pam:denied', 'MH_ERR_SPAWN_LOCAL', /login\.deny/],
    ['pam:root', 'MH_ERR_SPAWN_LOCAL', /root/],
    ['pam:metalhub', 'MH_ERR_SPAWN_LOCAL', /system/],
    ['pam:nobody', 'MH_ERR_SPAWN_LOCAL', /system/],
    ['pam:0', 'MH_ERR_SPAWN_LOCAL', /number/],
    ['pam:1001', 'MH_ERR_SPAWN_LOCAL', /number/],
    ['pam:ghost', 'MH_ERR_SPAWN_LOCAL', /no such account/],
    ['oidc:bob', 'MH_ERR_SPAWN_LOCAL_LOGIN', /oidc/],
  ];
  for (const [index, [identity, code, reason]] of refusals.entries()) {
    const error = await failureOf(spawner.call('StartServer', startParams(`k${index}`, { identity })));
    t.equal(error.code, code, identity);
    t.match(error.message, reason, identity);
    t.match(await unitProperty(machine, `jupyter-k${index}.service`, 'LoadState'), 'not-found');
  }
  const other = await failureOf(spawner.call('StartServer', startParams('anna', { identity: 'pam:bob' })));
  t.equal(other.code, 'MH_ERR_SPAWN_IDENTITY');
});

t.test(
  'S10: a unit that looks like a server of a user\u2019s, but runs as another account, is not shown to them',
  async (t) => {
    const properties = ['PAMName=metalhub-session', 'User=bob', 'Slice=jupyter-zed.slice'].flatMap((text) => [
      '-p',
      text,
    ]);
    const start = ['systemd-run', '--quiet', '--unit=jupyter-zed', `--setenv=METALHUB_START_ID=${'a'.repeat(32)}`];
    await machine.run([...start, ...properties, 'sleep', 'infinity']);
    const refused = await failureOf(spawner.call('StartServer', startParams('zed', { identity: 'pam:anna' })));
    t.equal(refused.code, 'MH_ERR_SPAWN_UNIT_FOREIGN');
    t.equal(await unitProperty(machine, 'jupyter-zed.service', 'ActiveState'), 'active', 'it is left alone');
    await machine.run(['systemctl', 'stop', 'jupyter-zed.service']);
  },
);

t.test('an account that PAM refuses, or whose home is not there, is told so', async (t) => {
  const expired = await failureOf(spawner.call('StartServer', startParams('expired')));
  t.match(expired, { code: 'MH_ERR_SPAWN_PAM', message: /expired/ });
  const homeless = await failureOf(spawner.call('StartServer', startParams('homeless')));
  t.match(homeless, { code: 'MH_ERR_SPAWN_HOME', message: /homeless/ });
});

t.test('named servers, limits, commands and a restarted spawner work as with accounts of systemd', async (t) => {
  const gpu = startParams('anna', { server: 'gpu', profile: 'hooked' });
  await spawner.call('StartServer', gpu);
  t.equal(await machine.readFile('/home/anna/hook'), 'anna /home/anna anna\n');
  await machine.run(['systemctl', 'kill', '--signal=SIGKILL', 'hub-spawner']);
  spawner.close();
  spawner = await connectSpawner(machine);
  const before = await unitProperty(machine, 'jupyter-anna:gpu.service', 'InvocationID');
  t.match(await spawner.call('StartServer', gpu), { active_state: 'active', invocation_id: before }, 'adopted');
  const { start_id } = gpu;
  const { key, server } = gpu;
  await spawner.call('SetLimits', { key, server, start_id, limits: { tasks_max: 300 } });
  t.equal(await unitProperty(machine, 'jupyter-anna:gpu.service', 'TasksMax'), '300');
  t.match(await spawner.call('Freeze', { key, server }), { frozen: true });
  t.match(await spawner.call('Thaw', { key, server }), { frozen: false });

  const command = ['hubctl', 'exec', 'anna', '--', 'bash', '-c', 'id -un; pwd; ls /home; ulimit -n; exit 7'];
  t.match(await machine.exec(command), { code: 7, stdout: 'anna\n/home/anna\nanna\n4321\n' });
  const shell = ['hubctl', 'exec', 'anna', '--profile', 'dynamic', '--', 'id', '-un'];
  t.match(await machine.exec(shell), { code: 0, stdout: 'jupyter-anna\n' });
  t.match(await machine.exec(['hubctl', 'fix-home', 'bob']), { code: 1, stderr: /account of the machine|no uid/ });

  await spawner.call('StopServer', { key, server });
  await spawner.call('StopServer', { key, server: startParams('anna').server });
  const left = await machine.exec(['pgrep', '--uid', 'anna', '--list-full']);
  t.equal(left.stdout, '', 'nothing of it is left');
});
