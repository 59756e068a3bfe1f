import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type ExecResult, type Machine } from '../lib/machine.js';
import { Visitor } from '../lib/visitor.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
/** A name that would turn the rest of its line around, if a terminal got it as it is. */
const TWISTED = 'eve\u202egnp.exe';
const ESCAPE = '\u001b';

t.setTimeout(900_000);

let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'carl', 'battery staple');
  await createUser(machine, 'olga', 'battery staple', { groups: ['metalhub-admin'] });
  await addTwistedAccount();
  await machine.enterNetwork();
  await new Visitor().logIn('anna', 'correct horse');
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=60']));
  await machine?.stop();
});

/** useradd would refuse it; a directory service may well serve it. */
async function addTwistedAccount(): Promise<void> {
  const hash = '"$(perl -e \'print crypt("correct horse", q($6$metalhub$))\')"';
  await machine.run([
    'bash',
    '-euc',
    `
    gid=$(getent group metalhub-users | cut -d: -f3)
    echo "$1:x:5000:$gid::/nonexistent:/bin/bash" >>/etc/passwd
    echo "$1:"${hash}":20000:0:99999:7:::" >>/etc/shadow`,
    'bash',
    TWISTED,
  ]);
}

async function hubctl(argv: readonly string[], user?: string): Promise<ExecResult> {
  return machine.exec(['hubctl', ...argv], user === undefined ? {} : { user });
}

/** What a command prints with `--json`. @throws when it fails or prints anything else */
async function json(argv: readonly string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await machine.run(['hubctl', ...argv, '--json'])) as Record<string, unknown>;
}

/**
 * Has the server of anna print a line, as a program of hers that the server started would. It stays a moment: the journal looks
 * up the unit of whoever wrote, and cannot of a process that is gone.
 */
function printAsServer(line: string): string {
  const group = '/sys/fs/cgroup$(systemctl show --value -p ControlGroup jupyter-anna.service)/cgroup.procs';
  const uid = '$(stat -c %u "/proc/$(systemctl show --value -p MainPID jupyter-anna.service)")';
  return `( uid=${uid}; echo $BASHPID >${group}; { printf '${line}\\n'; sleep 1; } | setpriv --reuid "$uid" --clear-groups systemd-cat -t anna )`;
}

t.test('start tells each step, waits until the server is ready and prints its address; stop ends it', async (t) => {
  const started = await hubctl(['start', 'anna']);
  t.match(started, { code: 0, stderr: '', stdout: /^Server requested\n(.+\n)+Server ready at \/user\/anna\/\n$/ });
  t.equal((await machine.exec(['systemctl', 'is-active', 'jupyter-anna.service'])).stdout.trim(), 'active');
  t.match(await hubctl(['stop', 'anna']), { code: 0, stdout: 'stopped the server of anna\n', stderr: '' });
  t.equal((await machine.exec(['systemctl', 'is-active', 'jupyter-anna.service'])).stdout.trim(), 'inactive');
  const events = (await machine.run(['hubctl', 'start', 'anna', '--json'])).trim().split('\n');
  t.match(JSON.parse(events.at(-1) ?? ''), { ready: true });
  t.match(await hubctl(['start', 'anna']), { code: 0 }, 'of what runs already is no failure');
});

t.test('status, users, servers and routes show the user and the server, as a table and as JSON', async (t) => {
  t.match(await hubctl(['status']), {
    code: 0,
    stderr: '',
    stdout: /^users +1\nservers +1 ready, .*\nproxy +\d+ routes$/m,
  });
  t.match(await json(['status']), {
    users: 1,
    servers: { ready: 1 },
    logins_allowed: true,
    proxy: { reachable: true },
  });
  t.match(await hubctl(['users']), { code: 0, stderr: '', stdout: /^anna +pam +jupyter-anna +no +20.*ready$/m });
  t.match(await json(['users']), {
    users: [{ name: 'anna', method: 'pam', key: 'anna', admin: false, server: { state: 'ready' } }],
  });
  t.match(await hubctl(['servers']), {
    code: 0,
    stderr: '',
    stdout: /^anna +- +ready +\S+ +20.* jupyter-anna\.service +- +-$/m,
  });
  t.match(await json(['servers']), {
    servers: [{ user: 'anna', name: '', state: 'ready', unit: 'jupyter-anna.service', failure: null }],
  });
  t.match(await hubctl(['routes']), { code: 0, stderr: '', stdout: /^\/user\/anna\/? .*anna/m });
  const routes = Object.entries(await json(['routes']));
  t.match(routes.find(([prefix]) => prefix.startsWith('/user/anna'))?.[1], { user: 'anna', auth: 'ticket' });
});

t.test('no token of a server is in anything that hubctl prints', async (t) => {
  const credentials = await machine.shell('cat /run/credentials/jupyter-anna.service/*');
  const tokens = credentials.match(/(?<![\w-])[\w-]{43}(?![\w-])/g) ?? [];
  t.not(tokens.length, 0, 'the server has one');
  for (const command of ['status', 'users', 'servers', 'routes']) {
    for (const format of [[], ['--json']]) {
      const { stdout } = await hubctl([command, ...format]);
      t.equal(
        tokens.some((token) => stdout.includes(token)),
        false,
        command,
      );
      t.notMatch(stdout, /token|secret|(?<![\w-])[\w-]{43}(?![\w-])/i, command);
    }
  }
  const logs = await hubctl(['logs', 'anna', '--lines', '1000']);
  t.equal(
    tokens.some((token) => logs.stdout.includes(token)),
    false,
    'logs',
  );
});

t.test('a user whom nobody knows and a command that does not exist are refused with a hint', async (t) => {
  for (const command of ['start', 'stop', 'logs']) {
    const refused = await hubctl([command, 'nobody-here']);
    t.match(refused, { code: 1, stdout: '', stderr: /^hubctl: .*\n {8}\S.*\n$/ }, command);
    const told = JSON.parse((await hubctl([command, 'nobody-here', '--json'])).stdout) as { error: unknown };
    t.match(told.error, { code: /^MH_ERR_/, message: /./, hint: /./ });
  }
  t.match(await hubctl(['sart', 'anna']), { code: 2, stdout: '', stderr: /no such command: sart.*\n.*hubctl --help/ });
  t.match(await hubctl(['start']), { code: 2, stderr: /usage: hubctl start <user>/ });
  t.match(await hubctl([]), { code: 2, stdout: '', stderr: /Usage:/ });
});

t.test('logs shows the last lines of the server', async (t) => {
  const { code, stdout } = await hubctl(['logs', 'anna', '--lines', '5']);
  t.equal(code, 0);
  const lines = stdout.trimEnd().split('\n');
  t.equal(lines.length, 5);
  for (const line of lines) t.match(line, /^\d{4}-\d\d-\d\d \d\d:\d\d \S+: /);
  const first = (await machine.run(['hubctl', 'logs', 'anna', '--lines', '1', '--json'])).trim();
  t.match(JSON.parse(first), { time_ms: Number, identifier: String, message: String });
});

t.test('logs -f shows a new line within seconds and ends when it is told to', async (t) => {
  const printed = await machine.shell(`
    hubctl logs anna --follow --lines 1 >/run/followed & follower=$!
    for ((tries = 0; tries < 200; tries++)); do [[ ! -s /run/followed ]] || break; sleep 0.1; done
    ${printAsServer('a line of now')}
    for ((tries = 0; tries < 50; tries++)); do grep -q 'a line of now' /run/followed && break; sleep 0.1; done
    cat /run/followed
    kill -TERM $follower
    code=0; timeout 5 tail --pid=$follower -s 0.1 -f /dev/null || echo 'it goes on'
    wait $follower || code=$?
    echo "ended with $code"`);
  t.match(printed, /anna: a line of now\nended with (143|0)\n$/);
  // Brackets keep the pattern from matching the command line that it is in.
  const followers =
    'for ((tries = 0; tries < 50; tries++)); do pgrep -af "[j]ournalctl.*--follow" || exit 0; sleep 0.1; done';
  t.match(
    await machine.exec(['bash', '-c', `${followers}; exit 1`]),
    { code: 0 },
    'nothing follows the journal any more',
  );
});

t.test('D02: escape sequences of users reach no terminal', async (t) => {
  await machine.shell(printAsServer('\\033]0;owned\\007\\033[2Jgone'));
  const logs = await hubctl(['logs', 'anna', '--lines', '3']);
  t.match(logs.stdout, 'gone', 'the line is there');
  t.notMatch(logs.stdout, ESCAPE);
  t.equal((await new Visitor().logIn(TWISTED, 'correct horse')).path, '/hub/home');
  const users = await hubctl(['users']);
  t.match(users.stdout, 'eve\\u{202e}gnp.exe');
  t.notMatch(users.stdout, '\u202e');
  for (const argv of [
    ['start', `${ESCAPE}[31mx`],
    ['logs', `${ESCAPE}[31mx`],
    [`${ESCAPE}[31mx`],
    ['users', '--', `${ESCAPE}[31mx`],
  ]) {
    const { code, stdout, stderr } = await hubctl(argv);
    t.not(code, 0);
    t.notMatch(stdout + stderr, ESCAPE);
  }
});

t.test('D02: a plain user is refused by permission, and told which group may', async (t) => {
  const commands = [
    ['status'],
    ['users'],
    ['servers'],
    ['routes'],
    ['start', 'anna'],
    ['stop', 'anna'],
    ['logs', 'anna'],
    ['logs', '-f', 'anna'],
  ];
  for (const argv of commands) {
    t.match(await hubctl(argv, 'carl'), { code: 1, stdout: '', stderr: /metalhub-admin/ }, argv.join(' '));
  }
  const forced = 'import socket; socket.socket(socket.AF_UNIX).connect("/run/metalhub/admin.sock")';
  t.match(
    await machine.exec(['python3', '-c', forced], { user: 'carl' }),
    { code: 1, stderr: /PermissionError/ },
    'by the kernel',
  );
  t.equal((await machine.exec(['systemctl', 'is-active', 'jupyter-anna.service'])).stdout.trim(), 'active');
});

t.test('D02: a member of metalhub-admin needs no root', async (t) => {
  t.match(await hubctl(['users'], 'olga'), { code: 0, stderr: '', stdout: /^anna /m });
  t.match(await hubctl(['stop', 'anna'], 'olga'), { code: 0 });
  t.match(await hubctl(['start', 'anna'], 'olga'), { code: 0 });
  t.match(await hubctl(['logs', 'anna', '--lines', '1'], 'olga'), { code: 0, stdout: /./ });
});

t.test(
  'config check finds no mistake, and what config show prints is a configuration that means the same',
  async (t) => {
    t.match(await hubctl(['config', 'check']), { code: 0, stderr: '', stdout: /metalhub\.toml.*: no mistakes/ });
    t.match(await json(['config', 'check']), { ok: true, warnings: [] });
    const before = await machine.readFile(CONFIG);
    const shown = await machine.run(['hubctl', 'config', 'show']);
    const meant = await json(['config', 'show']);
    await machine.writeFile(CONFIG, shown);
    t.match(await hubctl(['config', 'check']), { code: 0, stderr: '' }, 'it can be used as it is');
    t.equal(await machine.run(['hubctl', 'config', 'show']), shown);
    t.strictSame(await json(['config', 'show']), meant);
    t.match(await hubctl(['apply']), { code: 0 });
    await machine.writeFile(CONFIG, before);
    t.match(await hubctl(['apply']), { code: 0 });
  },
);

t.test('doctor finds nothing wrong with a healthy machine, and what is wrong with another', async (t) => {
  const healthy = await hubctl(['doctor']);
  t.equal(healthy.code, 0, healthy.stdout);
  t.notMatch(healthy.stdout, 'FAILED');
  t.match(healthy.stdout, /Nothing is wrong\.\n$/);
  t.match(await json(['doctor']), { ok: true });
  await machine.run(['systemctl', 'stop', 'hub-proxy.socket', 'hub-proxy.service']);
  const ill = await hubctl(['doctor']);
  t.match(ill, { code: 1, stdout: /FAILED .*hub-proxy.*\n +→ / });
  await machine.run(['systemctl', 'start', 'hub-proxy.socket', 'hub-proxy.service']);
  t.match(await hubctl(['doctor']), { code: 0 });
});

t.test('doctor warns of pam_faillock that hub-pam lets count nothing, until the drop-in is there', async (t) => {
  const stack = await machine.readFile('/etc/pam.d/common-auth');
  await machine.writeFile('/etc/pam.d/common-auth', `${stack}auth required pam_faillock.so preauth\n`);
  const subject = async (): Promise<string> =>
    (await machine.exec(['hubctl', 'doctor'])).stdout.split('\n').find((line) => line.includes('pam_faillock')) ?? '';
  t.match(await subject(), /^warning +pam_faillock: .*lets it count nothing/);
  // As the comment in the unit says, which the advice points to.
  const unit = await machine.run(['systemctl', 'cat', 'hub-pam@doctor.service']);
  const [, lines = ''] = /^# +pam_faillock +(\[Service\]\n(?:# {10,}\S.*\n)+)/m.exec(unit) ?? [];
  const dropIn = '/etc/systemd/system/hub-pam@.service.d/site.conf';
  await machine.writeFile(dropIn, lines.replace(/^# +/gm, ''));
  await machine.run(['systemctl', 'daemon-reload']);
  t.match(await subject(), /^ok +pam_faillock: can count/);
  await machine.run(['rm', dropIn]);
  await machine.writeFile('/etc/pam.d/common-auth', stack);
  await machine.run(['systemctl', 'daemon-reload']);
  t.equal(await subject(), '', 'nothing is said where nobody uses it');
});

t.test('there are a manual page and completion', async (t) => {
  const page = await machine.exec(['man', '-w', 'hubctl']);
  if (page.code === 127) t.match(await machine.shell('zcat /usr/share/man/man1/hubctl.1.gz'), /^\.(TH|Dd) /m);
  else t.match(await machine.run(['man', '--warnings', 'hubctl']), /doctor/);
  const complete = (words: string, index: number): Promise<string> =>
    machine.shell(`
      set +eu
      source /usr/share/bash-completion/completions/hubctl
      COMP_WORDS=(${words}); COMP_CWORD=${index}; _hubctl
      echo "\${COMPREPLY[@]}"`);
  t.equal(await complete('hubctl st', 1), 'status start stop\n');
  t.equal(await complete('hubctl config ""', 2), 'check show\n');
  t.equal(await complete('hubctl stop a', 2), 'anna\n', 'names of users');
  const usage = await machine.run(['hubctl', '--help']);
  for (const [, command = ''] of usage.matchAll(/^ {2}hubctl (\S+)/gm)) {
    t.match((await complete(`hubctl ${command}`, 1)).split(/\s/), [command], `${command} is offered`);
  }
  for (const [, command = '', second = ''] of usage.matchAll(/^ {2}hubctl (\S+) ([a-z-]+) /gm)) {
    const offered = (await complete(`hubctl ${command} ${second}`, 2)).split(/\s/);
    t.ok(offered.includes(second), `${command} ${second} is offered`);
  }
});

t.test('the journal has no unexpected warnings', async () => {
  await machine.assertCleanJournal([]);
});
