import t from 'tap';
import { createUser, debPath, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';

t.setTimeout(600_000);

const SECRETS = ['cookie-key', 'server-token-key', 'ticket-key'];
const HOME = '/var/lib/private/metalhub/home/anna';
let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
});

t.teardown(async () => {
  await machine?.stop();
});

t.test('apt installs it without network and without a question, and everything runs', async (t) => {
  t.equal((await machine.run(['ip', 'route'])).trim(), '', 'the machine has no network');
  const output = await installDeb(machine);
  t.notMatch(output, /warning|failed|not starting/i);
  t.same(await states(['metalhub.target', 'hub-proxy.service', 'hub.service']), ['active', 'active', 'active']);
  t.equal((await machine.run(['systemctl', 'is-system-running', '--wait'])).trim(), 'running');
  t.equal((await machine.run(['systemctl', 'is-enabled', 'metalhub.target'])).trim(), 'enabled');
  t.equal(await login(), '200');
  t.equal((await machine.exec(['systemctl', 'is-enabled', 'hub-api.socket'])).stdout.trim(), 'disabled');
});

t.test('every socket belongs to its audience alone', async (t) => {
  const listing = await machine.shell("cd /run/metalhub && stat -c '%n %a %U:%G' -- *.sock servers . | sort");
  t.same(listing.trim().split('\n'), [
    '. 755 root:root',
    'admin.sock 660 root:metalhub-admin',
    'hub.sock 660 root:metalhub-proxy',
    'logs.sock 660 root:metalhub',
    'pam.sock 660 root:metalhub',
    'proxy.sock 660 root:metalhub',
    'servers 750 root:metalhub-proxy',
    'spawner-admin.sock 660 root:metalhub-admin',
    'spawner.sock 660 root:metalhub',
  ]);
  t.match(
    await machine.run(['ss', '-Hltn']),
    /^LISTEN\s+\d+\s+\d+\s+127\.0\.0\.1:8000\s[^\n]*\n$/,
    'one port, loopback only',
  );
});

t.test('D03: no world-readable secret, no world-writable directory, no setuid program', async (t) => {
  const roots = '/etc/metalhub /run/metalhub /run/metalhub-proxy /var/lib/metalhub /usr/lib/metalhub';
  t.equal(await machine.shell(`find ${roots} -xdev ! -type l ! -type s -perm /o+w`), '');
  t.equal(await machine.shell(`find ${roots} /usr/bin/hubctl -xdev -perm /6000`), '');
  t.equal(
    await machine.shell('find /var/lib/metalhub -mindepth 2 -perm /g+rwx,o+rwx ! -type l'),
    '',
    'state is private',
  );
  t.equal(await machine.shell("find /etc/metalhub/secrets -printf '%P %m %u\\n' | sort"), secretModes());
  const installed = 'dpkg -L metalhub | while read -r f; do [ ! -f "$f" ] || find "$f" -perm /6022; done';
  t.equal(await machine.shell(installed), '', 'nothing that the package brings can be changed by others');
  t.equal(await machine.shell('find /usr/lib/metalhub ! -user root'), '');
  await createUser(machine, 'eve', 'eve');
  for (const name of SECRETS) {
    t.not((await machine.exec(['cat', `/etc/metalhub/secrets/${name}`], { user: 'eve' })).code, 0, name);
  }
  const properties = await machine.run(['systemctl', 'show', 'hub.service', 'hub-proxy.service'], { user: 'eve' });
  for (const text of await secrets()) t.notMatch(properties, text.trim().split('\n').at(-1) ?? '', 'not in a property');
});

t.test('members of metalhub-admin may restart the daemons, by exact commands only', async (t) => {
  await createUser(machine, 'op', 'op', { groups: ['metalhub-admin'] });
  const sudo = (user: string, ...argv: string[]) => machine.exec(['sudo', '-n', ...argv], { user });
  for (const unit of ['hub', 'hub-proxy', 'hub.service', 'hub-proxy.service']) {
    t.equal((await sudo('op', 'systemctl', 'restart', unit)).code, 0, unit);
  }
  const refused = [
    ['systemctl', 'restart', 'cron'],
    ['systemctl', 'restart', 'hub', 'cron'],
    ['systemctl', 'restart', 'hub', '--root=/tmp'],
    ['systemctl', 'restart', 'hub*'],
    ['systemctl', 'edit', 'hub'],
    ['systemctl', 'stop', 'dbus'],
    ['systemctl', 'link', '/tmp/hub.service'],
    ['systemctl'],
    ['hubctl', 'status'],
    ['id'],
  ];
  for (const argv of refused) t.match((await sudo('op', ...argv)).stderr, /password is required/, argv.join(' '));
  t.not((await sudo('eve', 'systemctl', 'restart', 'hub')).code, 0, 'nobody else may');
  await machine.run(['visudo', '--check', '--strict', '--quiet']);
});

t.test(
  'D01: the maintainer scripts can be interrupted and run again, and follow no link out of their directories',
  async (t) => {
    const before = await secrets();
    await machine.shell(
      'mkdir -p /srv/outside /var/lib/metalhub/users && echo kept >/srv/outside/file && chmod 0700 /srv/outside',
    );
    await machine.shell(`
    ln -s /etc /var/lib/metalhub/users/x
    ln -s /srv/outside /var/lib/metalhub/hub/link
    ln -s /srv/outside /etc/metalhub/secrets/link
    ln -s /etc /run/metalhub/link`);
    const outside = await fingerprint();
    await machine.run(['/var/lib/dpkg/info/metalhub.postinst', 'configure', '0.1.0']);
    t.same(await secrets(), before, 'a second run keeps the secrets');
    await machine.shell('cd /etc/metalhub/secrets && rm cookie-key && echo half >.cookie-key.0123.tmp');
    for (const seconds of ['0.02', '0.05', '0.08', '0.12', '0.2']) {
      await machine.shell(
        `timeout --signal=KILL ${seconds} /var/lib/dpkg/info/metalhub.postinst configure 0.1.0 || true`,
      );
    }
    await machine.run(['/var/lib/dpkg/info/metalhub.postinst', 'configure', '0.1.0']);
    const after = await secrets();
    t.not(after[0], before[0], 'a missing secret is made');
    t.same(after.slice(1), before.slice(1), 'the others stay');
    t.equal(await machine.shell('ls -A /etc/metalhub/secrets'), `${[...SECRETS, 'link'].sort().join('\n')}\n`);
    t.equal(await fingerprint(), outside);
    const scripts = await machine.shell('cat /var/lib/dpkg/info/metalhub.p*');
    t.notMatch(scripts, /\b(chown|chmod)\b[^\n]*\s-R/);
  },
);

t.test('installing it again restarts the daemons and leaves sockets and secrets alone', async (t) => {
  const before = await secrets();
  const sockets = await property('ActiveEnterTimestampMonotonic', ['hub-proxy.socket', 'hub.socket', 'hub-pam.socket']);
  const pids = await property('MainPID', ['hub.service', 'hub-proxy.service']);
  await machine.shell('echo "# mine" >>/etc/metalhub/metalhub.toml');
  await installDeb(machine);
  t.same(
    await property('ActiveEnterTimestampMonotonic', ['hub-proxy.socket', 'hub.socket', 'hub-pam.socket']),
    sockets,
  );
  const restarted = await property('MainPID', ['hub.service', 'hub-proxy.service']);
  for (const [index, pid] of pids.entries()) t.not(restarted[index], pid, 'restarted');
  t.same(await secrets(), before);
  t.match(await machine.readFile('/etc/metalhub/metalhub.toml'), /# mine\n$/, "the administrator's change stays");
  t.equal(await login(), '200');
});

t.test('nothing of all that has left a warning in the journal', async () => {
  // A proxy that restarts leaves its old workers to whom they serve: systemd remarks on each.
  await machine.assertCleanJournal([/left-over process|unclean termination of a previous run/]);
});

t.test('removal stops everything, servers of users too, and leaves configuration and data', async (t) => {
  await machine.run([
    'systemd-run',
    '--unit=jupyter-anna.service',
    '--slice=jupyter-anna.slice',
    '--property=DynamicUser=yes',
    '--property=User=jupyter-anna',
    '--property=StateDirectory=metalhub/home/anna',
    'sh',
    '-c',
    'echo mine >"$STATE_DIRECTORY/notebook" && exec sleep infinity',
  ]);
  await machine.shell(`until test -s ${HOME}/notebook; do sleep 0.05; done`, { timeoutMs: 10_000 });
  await machine.run(['apt-get', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', 'remove', 'metalhub'], { timeoutMs: 180_000 });
  t.same(await states(['jupyter-anna.service', 'hub.service', 'hub-proxy.socket']), [
    'inactive',
    'inactive',
    'inactive',
  ]);
  t.equal(await machine.shell('pgrep -l -u metalhub,metalhub-proxy,metalhub-logs || true'), '', 'no process is left');
  t.equal(await machine.shell('pgrep -l -x node || true'), '');
  t.equal(await machine.run(['ss', '-Hltn']), '');
  t.equal((await machine.run(['systemctl', 'is-system-running'])).trim(), 'running');
  t.equal((await machine.exec(['test', '-e', '/run/metalhub'])).code, 1);
  t.equal((await secrets()).length, SECRETS.length);
  await machine.run(['test', '-s', '/var/lib/metalhub/hub/hub.sqlite']);
  t.equal(await machine.readFile(`${HOME}/notebook`), 'mine\n');
});

t.test('an installation after a removal goes on with what was left', async (t) => {
  const before = await secrets();
  await installDeb(machine);
  t.same(await secrets(), before);
  t.equal(await login(), '200');
  t.match(await machine.readFile('/etc/metalhub/metalhub.toml'), /# mine\n$/);
});

t.test('a purge takes configuration and secrets away, never a home nor what says whose it is', async (t) => {
  await machine.shell('mkdir -p /var/lib/metalhub/spawner && echo {} >/var/lib/metalhub/spawner/leases.json');
  const outside = await fingerprint();
  await machine.run(['apt-get', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', 'purge', 'metalhub'], { timeoutMs: 180_000 });
  for (const gone of ['/etc/metalhub', '/etc/sudoers.d/metalhub', '/etc/pam.d/metalhub', '/var/lib/metalhub/hub']) {
    t.equal((await machine.exec(['test', '-e', gone])).code, 1, gone);
  }
  t.equal(await machine.shell("find /etc/systemd/system -name '*hub*'"), '', 'no link to a unit is left');
  t.equal(await machine.readFile(`${HOME}/notebook`), 'mine\n');
  await machine.run(['test', '-e', '/var/lib/metalhub/spawner/leases.json']);
  t.equal(await fingerprint(), outside, 'D01: nothing behind a link has changed');
  t.equal((await machine.run(['systemctl', 'is-system-running'])).trim(), 'running');
  // Run again, as after an interruption.
  await machine.shell('dpkg --purge metalhub 2>/dev/null || true');
  t.equal(await machine.readFile(`${HOME}/notebook`), 'mine\n');
});

t.test('a purge without homes leaves nothing behind', async (t) => {
  await machine.shell('rm -rf /var/lib/private/metalhub/home/anna /var/lib/metalhub/home/anna /var/lib/metalhub/users');
  await installDeb(machine, debPath());
  await machine.run(['apt-get', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', 'purge', 'metalhub'], { timeoutMs: 180_000 });
  t.equal(await machine.shell("find /etc /var/lib /run /usr -xdev -path '*metalhub*' ! -path '/var/lib/dpkg/*'"), '');
});

async function states(units: readonly string[]): Promise<string[]> {
  return (await machine.exec(['systemctl', 'is-active', ...units])).stdout.trim().split('\n');
}

async function property(name: string, units: readonly string[]): Promise<string[]> {
  const text = await machine.run(['systemctl', 'show', '--value', `--property=${name}`, ...units]);
  return text.split('\n').filter(Boolean);
}

/** Status of the login page, through the front door. */
async function login(): Promise<string> {
  const url = 'http://127.0.0.1:8000/hub/login';
  return machine.run(['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '20', url]);
}

async function secrets(): Promise<string[]> {
  return Promise.all(SECRETS.map((name) => machine.readFile(`/etc/metalhub/secrets/${name}`)));
}

function secretModes(): string {
  return `${[' 700 root', ...SECRETS.map((name) => `${name} 600 root`)].join('\n')}\n`;
}

/** Names, owners, modes and times of what lies behind the links that were laid out; the files of the package itself apart. */
async function fingerprint(): Promise<string> {
  const own = "-name '*metalhub*' -o -path '/etc/systemd/system*' -o -name '*-' -o -name 'ld.so.cache'";
  return machine.shell(
    `find /srv/outside /etc \\( ${own} \\) -prune -o -type f -printf '%p %u:%g %m %T@\\n' | sort; cat /srv/outside/file`,
  );
}
