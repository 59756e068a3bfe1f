import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type ExecOptions, type ExecResult, type Machine } from '../lib/machine.js';
import { onceItRuns } from '../lib/once-it-runs.js';
import { frame, sendRaw } from '../lib/raw-caller.js';
import { TerminalProgram } from '../lib/terminal.js';
import { Visitor } from '../lib/visitor.js';

const ADMIN_SOCKET = '/run/metalhub/spawner-admin.sock';
const HUB_SOCKET = '/run/metalhub/spawner.sock';
/** How it looks to a caller whose connection is closed. */
const CLOSED = /^(closed|ConnectionResetError|BrokenPipeError)$/;
const STREAM_BYTES = Number(process.env['METALHUB_EXEC_BYTES'] ?? 200_000_000);
const PROMPT = /jupyter-anna@[^$]*\$ $/;
/** What of a unit need not be the same in a server and in a command beside it. */
const OWN_PROPERTIES =
  /^(Id|Names|Description|Type|NotifyAccess|Exec\w*|MainPID|ControlPID|ControlGroup\w*|InvocationID|Environment|LoadCredential|Standard\w*|TTY\w*|Success\w*|RemainAfterExit|Timeout\w*|SendSIGHUP|IgnoreSIGPIPE|Requires|RequiredBy|BoundBy|Wants|After|Before|TriggeredBy|Sockets|\w*Timestamp\w*|StateChange\w*|\w*USec\w*|Memory(Current|Peak|SwapCurrent|SwapPeak|Available)|Effective\w*|Tasks(Current)|CPUUsage\w*|IO\w*|IP\w*Bytes|IP\w*Packets|Status\w*|SubState|NRestarts|FragmentPath|Where|Job|MemoryPressure\w*|FileDescriptorStoreMax|CanFreeze|Freezer\w*|Consistsof|ConsistsOf)=/;

t.setTimeout(900_000);

let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'eve', 'battery staple');
  await createUser(machine, 'olga', 'battery staple', { groups: ['metalhub-admin'] });
  await machine.enterNetwork();
  await new Visitor().logIn('anna', 'correct horse');
  await machine.run(['hubctl', 'start', 'anna'], { timeoutMs: 120_000 });
});

t.teardown(async () => {
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=80']));
  await machine?.stop();
});

function exec(words: readonly string[], options: ExecOptions & { profile?: string } = {}): Promise<ExecResult> {
  const profile = options.profile === undefined ? [] : ['--profile', options.profile];
  return machine.exec(['hubctl', 'exec', 'anna', ...profile, '--', ...words], options);
}

/** Units of commands, and the files that their words travel in. systemd forgets a unit a moment after its end. */
async function leftovers(): Promise<string> {
  return machine.shell(`
    look() { systemctl list-units --all --no-legend --plain 'jupyter-*-exec-*' | cut -d' ' -f1; ls /run/metalhub-spawner/commands; }
    for _ in {1..50}; do [[ $(look) ]] || break; sleep 0.1; done
    look`);
}

t.test('a command runs beside the server: same account, home, sandbox and limits', async (t) => {
  const look =
    'id -un; pwd; echo "$HOME $PATH $JUPYTER_RUNTIME_DIR"; systemctl --version >/dev/null 2>&1; grep NoNewPrivs /proc/self/status';
  t.match(await exec(['bash', '-c', look]), {
    code: 0,
    stdout:
      /^jupyter-anna\n\/var\/lib\/metalhub\/home\/anna\n\/var\/lib\/metalhub\/home\/anna \S+ \/run\/jupyter\nNoNewPrivs:\t1\n$/,
    stderr: '',
  });
  const running = exec(['sleep', '30']);
  const unit = await unitOf('sleep 30');
  const [server, command] = await Promise.all([properties('jupyter-anna.service'), properties(unit)]);
  t.same(command, server);
  t.ok(server.length > 150, 'and that was compared');
  for (const line of ['User=jupyter-anna', 'Slice=jupyter-anna.slice', 'ProtectSystem=strict'])
    t.ok(server.includes(line));
  await machine.run(['systemctl', 'stop', unit]);
  t.match(await running, { code: 143 }, 'who stops the unit ends the command');
  t.equal(await leftovers(), '');
});

/** The unit in which a process with that command line runs. */
async function unitOf(commandLine: string): Promise<string> {
  const look = `until pid=$(pgrep -fx "$1"); do sleep 0.05; done; sed -n 's/^0::.*\\///p' /proc/$pid/cgroup`;
  return (await machine.run(['bash', '-c', look, 'bash', commandLine])).trim();
}

async function properties(unit: string): Promise<string[]> {
  const lines = (await machine.run(['systemctl', 'show', unit])).trim().split('\n');
  return lines.filter((line) => !OWN_PROPERTIES.test(line)).sort();
}

t.test('its status is passed on, and words arrive as they were given', async (t) => {
  for (const [words, code] of [
    [['true'], 0],
    [['sh', '-c', 'exit 7'], 7],
    [['sh', '-c', 'exit 217'], 217],
    [['sh', '-c', 'kill -9 $$'], 137],
    [['no-such-command'], 127],
    [['/etc/passwd'], 126],
  ] as const) {
    t.equal((await exec(words)).code, code, words.join(' '));
  }
  const words = ['%s|', 'two\nlines', '$HOME', '$(id)', '%n', ';id', '', 'Jürgen "q" \\', '--json', '--'];
  t.match(await exec(['printf', ...words]), { code: 0, stdout: `${words.slice(1).join('|')}|` });
  t.match(await exec(['sh', '-c', 'cat; echo err >&2'], { input: 'in' }), { code: 0, stdout: 'in', stderr: 'err\n' });
  t.match(await exec(['true'], { profile: 'nope' }), { code: 125, stderr: /no such profile/ });
  t.match(await machine.exec(['hubctl', 'exec', 'zoe', '--', 'true']), { code: 125, stderr: /no such user: zoe/ });
  t.match(await machine.exec(['hubctl', 'exec', 'anna', 'true']), { code: 2, stderr: /usage: hubctl exec/ });
  t.equal(await leftovers(), '');
});

t.test('pipes carry everything, at once and to the end', async (t) => {
  const script = `
    head -c ${STREAM_BYTES} /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null | tee >(sha256sum >/tmp/before) |
      hubctl exec anna -- cat | sha256sum >/tmp/after
    cmp /tmp/before /tmp/after`;
  const startMs = Date.now();
  await machine.shell(script, { timeoutMs: 120_000 });
  t.comment(`${STREAM_BYTES} bytes there and back in ${Date.now() - startMs} ms`);
  t.equal(await machine.shell('hubctl exec anna -- yes | head -n 1'.replace(/^/, 'set +o pipefail; ')), 'y\n');
  t.equal(await machine.shell('(sleep 1; echo late) | hubctl exec anna -- cat'), 'late\n');
  t.equal(await machine.shell('hubctl exec anna -- cat </etc/hostname'), await machine.readFile('/etc/hostname'));
});

/** Runs a command as anna, and a piece of shell once it is there. */
function run(then: string, ...words: string[]): Promise<ExecResult> {
  const start = 'hubctl exec anna -- "$@" & caller=$!; until pgrep -fx "$*" >/dev/null; do sleep 0.05; done; ';
  return machine.exec(['bash', '-c', start + then, 'bash', ...words]);
}

t.test('S12: a command ends with its caller, and what it left running ends with it', async (t) => {
  for (const pauseSec of [0, 1]) {
    await run(`sleep ${pauseSec}; kill -9 $caller`, 'sleep', '301');
    await gone('sleep 301');
  }
  const told = (signal: string, seconds: number) =>
    onceItRuns((pauseSec) =>
      run(`sleep ${pauseSec}; kill -${signal} $caller; wait $caller`, 'sleep', String(seconds + pauseSec)),
    );
  t.match(await told('TERM', 400), { code: 143 });
  t.match(await told('INT', 500), { code: 130 });
  await exec([
    'bash',
    '-c',
    'setsid sleep 304 & trap "" TERM HUP; setsid sleep 305 & until pgrep -fx "sleep 305"; do sleep 0.05; done',
  ]);
  await gone('sleep 30[45]');
  t.equal(await leftovers(), '');
});

t.test('who leaves before the command has started leaves no repair behind', async (t) => {
  const left = await machine.exec([
    'bash',
    '-c',
    `
    dir=/run/systemd/system/hub-fix-home@.service.d; mkdir -p $dir
    printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/node -e "setInterval(Object, 1e6)"\\nSuccessExitStatus=TERM\\n' >$dir/hang.conf
    systemctl daemon-reload
    rm /var/lib/metalhub/spawner/homes/anna.json
    state() { until [[ $(systemctl is-active hub-fix-home@anna) == "$1" ]]; do sleep 0.05; done; }
    hubctl exec anna -- true & caller=$!
    state activating
    kill -INT $caller; wait $caller; status=$?
    state inactive
    rm -r $dir; systemctl daemon-reload
    exit $status`,
  ]);
  t.match(left, { code: 125 });
  t.match(await exec(['true']), { code: 0 }, 'the next one repairs the home');
  t.equal(await leftovers(), '');
});

async function gone(commandLine: string): Promise<void> {
  await machine.run(['bash', '-c', 'while pgrep -fx "$1" >/dev/null; do sleep 0.05; done', 'bash', commandLine]);
}

t.test('a restarted or killed spawner interrupts no command, and leaves none without a caller', async (t) => {
  const between = (then: string) =>
    onceItRuns((pauseSec) =>
      run(`sleep ${pauseSec}; ${then}; wait $caller`, 'sh', '-c', `sleep ${pauseSec + 8}; echo on; exit 5`),
    );
  t.match(await between('systemctl restart hub-spawner'), { code: 5, stdout: 'on\n', stderr: '' });
  t.match(await between('systemctl kill -s KILL hub-spawner'), { code: 5, stdout: 'on\n', stderr: '' });
  await run('kill -9 $caller; systemctl kill -s KILL hub-spawner', 'sleep', '306');
  await gone('sleep 306');
  // Its unit goes a moment later.
  await sleep(500);
  t.equal(await leftovers(), '');
});

t.test('S01: administrators only; the hub has no such request', async (t) => {
  t.match(await machine.exec(['hubctl', 'exec', 'anna', '--', 'id', '-un'], { user: 'olga' }), {
    code: 0,
    stdout: 'jupyter-anna\n',
  });
  for (const command of ['exec', 'shell']) {
    const words = command === 'exec' ? ['--', 'true'] : [];
    t.match(await machine.exec(['hubctl', command, 'anna', ...words], { user: 'eve' }), {
      code: command === 'exec' ? 125 : 2,
      stdout: '',
    });
  }
  const params = { key: 'anna', profile: null, claimed: null, command: ['true'] };
  t.match(await sendRaw(machine, HUB_SOCKET, [], frame({ id: 1, method: 'Exec', params })), CLOSED);
  for (const bad of [
    { ...params, key: 'root/x' },
    { ...params, User: 'root' },
    { ...params, command: ['a\0b'] },
    { ...params, command: 'true' },
    { ...params, profile: '../x' },
    { ...params, claimed: 'a\nb' },
  ]) {
    t.match(await sendRaw(machine, ADMIN_SOCKET, [], frame({ id: 1, method: 'Exec', params: bad })), CLOSED);
  }
});

t.test('it is logged who ran what, and no word of a command is anybody else’s to read', async (t) => {
  const since = await machine.cursor();
  const running = machine.exec(['hubctl', 'exec', 'anna', '--', 'sh', '-c', 'sleep 10 # Secret-word'], {
    user: 'olga',
  });
  const unit = await unitOf('sleep 10');
  const shown = await machine.run(['bash', '-c', 'systemctl show "$1"; cat /run/systemd/transient/"$1"', 'bash', unit]);
  t.notMatch(shown, /Secret-word/);
  t.match(await running, { code: 0 });
  const uid = (await machine.run(['id', '-u', 'olga'])).trim();
  const entries = await machine.journal({ identifier: 'hub-spawner', since });
  t.match(entries, [
    {
      message: 'command started',
      fields: {
        METALHUB_USER: 'anna',
        METALHUB_ACCOUNT: 'olga',
        METALHUB_PEER: new RegExp(`^uid=${uid} pid=[0-9]+$`),
        METALHUB_PROFILE: 'default',
        METALHUB_PROGRAM: 'sh',
        METALHUB_WORDS: '3',
      },
    },
    { message: 'command ended', fields: { METALHUB_ACCOUNT: 'olga', METALHUB_STATUS: '0' } },
  ]);
  const all = await machine.journal({ since });
  t.notMatch(JSON.stringify(all.filter(({ identifier }) => identifier !== 'runuser')), /Secret-word/);
});

t.test('a terminal of the administrator is never given away', async (t) => {
  const argv = [
    'hubctl',
    'exec',
    'anna',
    '--',
    'bash',
    '-c',
    'test -t 0 || test -t 1 || test -t 2 || echo none; read x; echo "<$x>"; exit 3',
  ];
  const program = new TerminalProgram(machine, argv, { columns: 80, rows: 24 });
  await program.see(/none/);
  program.type('typed\r');
  await program.see(/<typed>/);
  t.equal(await program.ended, 3);
  const interrupted = await onceItRuns(async (pauseSec) => {
    const command = ['sleep', String(600 + pauseSec)];
    const asked = new TerminalProgram(machine, ['hubctl', 'exec', 'anna', '--', ...command], { columns: 80, rows: 24 });
    await unitOf(command.join(' '));
    await sleep(pauseSec * 1000);
    asked.type('\x03');
    return { code: await asked.ended };
  });
  t.equal(interrupted.code, 130, 'Ctrl-C is the command’s');
});

t.test('a shell is interactive: text, signals, jobs and the size of the window', async (t) => {
  const program = new TerminalProgram(machine, ['hubctl', 'shell', 'anna'], { columns: 90, rows: 33 });
  await program.see(PROMPT);
  program.type('echo hé $((40+2)); id -un; tty; stty size; stty -a | grep -o iutf8; echo $TERM\r');
  t.match(await program.see(/xterm-256color\r\n/), /hé 42\r\njupyter-anna\r\n\/dev\/pts\/[0-9]+\r\n33 90\r\niutf8\r\n/);
  program.resize(101, 41);
  // The signal takes its way through three processes.
  program.type('until [ "$(stty size)" = "41 101" ]; do sleep 0.1; done; echo "re"sized\r');
  await program.see(/[\r\n]resized\r\n/);
  await program.see(PROMPT);
  program.type('sleep 311\r');
  await unitOf('sleep 311');
  program.type('\x03');
  await program.see(PROMPT);
  program.type('echo "rc"=$?\r');
  await program.see(/[\r\n]rc=130\r\n/);
  program.type('sleep 312\r');
  await unitOf('sleep 312');
  program.type('\x1a');
  await program.see(/Stopped +sleep 312/);
  program.type('fg\r');
  await program.see(/[\r\n]sleep 312\r\n/);
  program.type('\x03');
  await program.see(PROMPT);
  program.type('exit 9\r');
  t.equal(await program.ended, 9);
  t.equal(await leftovers(), '');
});

t.test('whoever ends a shell gets the terminal back as it was', async (t) => {
  const script =
    'stty -a >/tmp/stty-before; hubctl shell anna; echo "ended with $?"; stty -a >/tmp/stty-after; cmp /tmp/stty-before /tmp/stty-after && echo "as" before';
  for (const [signal, status] of [
    ['TERM', 143],
    ['HUP', 129],
  ] as const) {
    const program = new TerminalProgram(machine, ['bash', '-c', script], { columns: 80, rows: 24 });
    await program.see(PROMPT);
    program.type('sleep 313\r');
    await unitOf('sleep 313');
    await machine.run(['pkill', `-${signal}`, '-f', '^/usr/bin/node /usr/bin/hubctl shell anna$']);
    await program.see(new RegExp(`ended with ${status}\\r\\n`));
    await program.see(/as before/);
    await gone('sleep 313');
  }
  // Not even by SIGKILL does anything stay behind.
  const killed = new TerminalProgram(machine, ['hubctl', 'shell', 'anna'], { columns: 80, rows: 24 });
  await killed.see(PROMPT);
  killed.type('sleep 314\r');
  await unitOf('sleep 314');
  await machine.run(['pkill', '-KILL', '-f', '^/usr/bin/node /usr/bin/hubctl shell anna$']);
  await killed.ended;
  await gone('sleep 314');
  t.match(await machine.exec(['hubctl', 'shell', 'anna']), { code: 2, stderr: /shell is for terminals/ });
});

t.test('hooks run before the start and after the end: programs as the user, units as their file says', async (t) => {
  await machine.writeFile(
    '/etc/metalhub/hooks/before',
    '#!/bin/sh\necho "$(id -un) $METALHUB_USER $METALHUB_PROFILE" >~/before\n',
    0o755,
  );
  await machine.writeFile(
    '/etc/metalhub/hooks/after',
    '#!/bin/sh\necho "$(id -un) $SERVICE_RESULT" >~/after; exit 9\n',
    0o755,
  );
  const unit = (name: string, command: string) =>
    machine.writeFile(
      `/etc/systemd/system/${name}@.service`,
      `[Service]\nType=oneshot\nExecStart=/bin/sh -c '${command}'\n`,
    );
  await unit('quota', 'echo "$(id -un) %i" >/run/quota; test ! -e /run/quota-full');
  await unit('report', 'echo "$(id -un) %i" >/run/report');
  await machine.shell(`cat >>/etc/metalhub/metalhub.toml <<'END'
[[profile]]
name = "default"
[[profile]]
name = "hooked"
before_start = ["quota@.service", "/etc/metalhub/hooks/before"]
after_stop = ["/etc/metalhub/hooks/after", "report@.service"]
END
    systemctl daemon-reload; hubctl apply; hubctl stop anna`);
  const start = () => machine.exec(['hubctl', 'start', 'anna', '--profile', 'hooked'], { timeoutMs: 120_000 });
  const read = async (file: string) => (await exec(['cat', file])).stdout;
  t.match(await start(), { code: 0 });
  t.equal(await read('before'), 'jupyter-anna anna hooked\n');
  t.equal(await machine.readFile('/run/quota'), 'root anna\n');
  await machine.run(['hubctl', 'stop', 'anna']);
  t.equal(await read('after'), 'jupyter-anna success\n');
  await machine.run(['bash', '-c', 'until test -s /run/report; do sleep 0.1; done']);
  t.equal(await machine.readFile('/run/report'), 'root anna\n');

  await machine.run(['touch', '/run/quota-full']);
  const byUnit = await start();
  t.match(byUnit, { code: 1 });
  t.match(byUnit.stdout + byUnit.stderr, /failed: quota@anna\.service/);
  await machine.run(['rm', '/run/quota-full']);
  await machine.writeFile('/etc/metalhub/hooks/before', '#!/bin/sh\necho no room for $METALHUB_USER; exit 3\n', 0o755);
  const byProgram = await start();
  t.match(byProgram, { code: 1 });
  t.match(byProgram.stdout + byProgram.stderr, /failed: \/etc\/metalhub\/hooks\/before.*no room for anna/s);
  t.equal(
    await machine.shell("systemctl list-units --all --no-legend --plain 'jupyter-anna*' | grep -v slice || true"),
    '',
  );

  await machine.run(['chmod', 'o+w', '/etc/metalhub/hooks/before']);
  t.match(
    await machine.exec(['systemctl', 'reload', 'hub-spawner']),
    { code: 1 },
    'what others can write to is refused',
  );
  await machine.run(['chmod', 'o-w', '/etc/metalhub/hooks/before']);
  await machine.run(['hubctl', 'start', 'anna', '--profile', 'default'], { timeoutMs: 120_000 });
});

t.test('the server beside all that was not disturbed, and nothing complained', async (t) => {
  t.match(await machine.run(['hubctl', 'servers']), /anna +- +ready/);
  t.equal(await leftovers(), '');
  await machine.assertCleanJournal([
    /^hub-spawner \[hub-spawner\.service\] <4> connection refused/,
    /^(systemd|hub-spawner) \[hub-spawner\.service\] <[0-5]>/,
    // Hooks that failed.
    /^systemd \[(jupyter-anna|quota@anna|report@anna)\.service\]/,
    /^(hub|hub-spawner) \[(hub|jupyter-anna)\.service\] <4> server (did not start|start failed|failed)/,
    // "exit 217" is what systemd itself says where it cannot set a unit up; one process ignored what it was told.
    /^systemd \[jupyter-anna-exec-[0-9a-f]+\.service\] <4> .*('exit-code'|'timeout'|timed out\. Killing)/,
  ]);
});
