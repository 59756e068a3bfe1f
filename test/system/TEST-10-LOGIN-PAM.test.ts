import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PamAnswer } from '@metalhub/wire/pam.js';
import t from 'tap';
import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { callWire, median, type WireAnswer, wireBinds } from '../lib/wire-caller.js';

const ANNA = 'anna-pässwörd-☃';
const SECRET = 'tell-tale-secret';
const NORMAL = '@include common-auth\n@include common-account\n';
const SERVICE = '/etc/pam.d/metalhub';

// Boots a machine, and makes a process for each of two hundred attempts.
t.setTimeout(600_000);

let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter', binds: wireBinds() });
  await installDeb(machine);
  await machine.shell(`
    add() { name=$1; shift; useradd -m -s /bin/bash "$@" "$name"; echo "$name:${SECRET}" | chpasswd; }
    add anna -G metalhub-users; echo 'anna:${ANNA}' | chpasswd
    add bob
    add carl -G metalhub-users; passwd -q -l carl
    add dora -G metalhub-users; chage -E 2020-01-01 dora
    add emil -G metalhub-users; chage -d 0 emil
    add finn -G metalhub-users -s /usr/sbin/nologin
    add gina -G metalhub-users -r -u 500
    add hans -G metalhub-users; passwd -q -d hans
    add iris -G metalhub-users
    add jost -G metalhub-users; chage -d 2020-01-01 -M 30 -I 5 jost
    add mallory
    echo 'root:${SECRET}' | chpasswd
    usermod -a -G metalhub-users root`);
  const login = '[[login]]\nmethod = "pam"\nallow = { groups = ["metalhub-users"] }\ndeny = { users = ["iris"] }\n';
  await machine.writeFile('/etc/metalhub/metalhub.toml', login);
  await machine.run(['systemctl', 'start', 'hub-pam.socket']);
});

t.teardown(async () => {
  await machine?.stop();
});

async function attempts(
  tries: readonly (readonly [name: string, password: string])[],
): Promise<WireAnswer<PamAnswer>[]> {
  const params = tries.map(([name, password]) => ({ name, password, remote_host: '192.0.2.7' }));
  return callWire(
    machine,
    params.map((one) => ({ method: 'Authenticate', params: one })),
  );
}

async function outcomes(tries: readonly (readonly [name: string, password: string])[]): Promise<string[]> {
  const answers = await attempts(tries);
  return answers.map(({ result, error }) => result?.outcome ?? `error ${error?.code}`);
}

t.test('the right password is accepted, with the names of the groups', async (t) => {
  const [answer] = await attempts([['anna', ANNA]]);
  t.match(answer?.result, { outcome: 'accepted', reason: null });
  t.same(answer?.result?.groups.toSorted(), ['anna', 'metalhub-users']);
});

t.test('wrong, empty, unknown, long: each has its own outcome', async (t) => {
  const tries = [
    ['anna', 'wrong'],
    ['anna', ''],
    ['anna', 'anna-pässwörd'],
    ['hans', ''],
    ['hans', SECRET],
    ['nobody-has-this', SECRET],
    ['%n%n%n', SECRET],
    ['anna@example.org', SECRET],
    ['anna', 'x'.repeat(512)],
    ['anna', 'x'.repeat(10_000)],
    ['n'.repeat(300), SECRET],
  ] as const;
  const expected = [
    ...Array(5).fill('wrong_password'),
    ...Array(3).fill('unknown_user'),
    'wrong_password',
    'malformed',
    'malformed',
  ];
  t.same(await outcomes(tries), expected);
});

t.test('M01: the next attempt after refused frames works', async (t) => {
  const path = await machine.path('/run/metalhub/pam.sock');
  const frames = [Buffer.from([0xff, 0xff, 0xff, 0xff]), Buffer.from([0, 0, 0]), Buffer.alloc(64 * 1024, 'x')];
  for (const frame of frames) {
    const bytes = await new Promise<number>((resolve) => {
      let received = 0;
      const socket = connect(path, () => socket.end(frame));
      socket.on('data', (chunk) => (received += chunk.length));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(received));
    });
    t.equal(bytes, 0);
  }
  const calls = [{ name: 'anna', password: SECRET.repeat(4096), remote_host: '' }].map((params) => ({
    method: 'Authenticate' as const,
    params,
  }));
  t.match(await callWire(machine, calls), [{ error: { code: /MH_ERR_WIRE_/ } }]);
  t.same(await outcomes([['anna', ANNA]]), ['accepted']);
});

t.test('M02: root, system accounts, no shell, no group, and the deny list are refused after PAM only', async (t) => {
  const names = ['root', 'finn', 'gina', 'bob', 'iris', 'mallory'];
  t.same(
    await outcomes(names.map((name) => [name, SECRET])),
    names.map(() => 'denied'),
  );
  t.same(
    await outcomes(names.map((name) => [name, 'wrong'])),
    names.map(() => 'wrong_password'),
  );
  t.same(
    await outcomes([
      ['daemon', SECRET],
      ['metalhub', SECRET],
    ]),
    ['locked', 'locked'],
  );
  t.same(await outcomes(['-x', 'a:b', 'a/b'].map((name) => [name, SECRET])), Array(3).fill('malformed'));
});

t.test('M03: locked, expired and to be changed are told apart, and only after the right password', async (t) => {
  const names = ['carl', 'dora', 'emil', 'jost'];
  t.same(await outcomes(names.map((name) => [name, SECRET])), [
    'locked',
    'account_expired',
    'password_expired',
    'password_expired',
  ]);
  t.same(await outcomes(names.map((name) => [name, 'wrong'])), ['locked', ...Array(3).fill('wrong_password')]);
});

t.test('M04: no delay is added here, for the hub gives all failures one duration', async (t) => {
  for (const [name, password, what] of [
    ['anna', 'wrong', 'wrong password'],
    ['nobody-has-this', 'wrong', 'unknown user'],
    ['carl', SECRET, 'locked'],
    ['bob', SECRET, 'denied'],
    ['anna', ANNA, 'accepted'],
  ] as const) {
    const answers = await attempts(Array.from({ length: 20 }, () => [name, password] as const));
    const times = answers.map(({ ms }) => ms);
    t.comment(
      `${what}: median ${median(times).toFixed(0)} ms, ${Math.min(...times).toFixed(0)}-${Math.max(...times).toFixed(0)}`,
    );
    t.ok(Math.min(...times) < 1500, 'pam_unix’s own delay of 1.5 s and more is not there');
  }
});

t.test('M05: a module that crashes, exits, leaks or hangs spoils its own attempt only', async (t) => {
  const since = await machine.cursor();
  await machine.writeFile('/opt/pam_fault.so', compileModule(), 0o755);
  const normal = await machine.readFile(SERVICE);
  const withFault = (what: string): Promise<void> =>
    machine.writeFile(SERVICE, `auth required /opt/pam_fault.so ${what}\n${NORMAL}`);
  for (const what of ['crash', 'exit', 'abort']) {
    await withFault(what);
    t.match(await attempts([['anna', ANNA]]), [{ error: { code: /MH_ERR_WIRE_/ } }], what);
  }
  await withFault('leak');
  t.same(
    await outcomes([['anna', ANNA]]),
    ['accepted'],
    'leaked descriptors, umask 0 and another locale go with the process',
  );
  await withFault('hang');
  const params = { name: 'anna', password: ANNA, remote_host: '' };
  const before = await machine.cursor();
  t.match(await callWire(machine, [{ method: 'Authenticate', params, abortMs: 2000 }]), [{ error: { code: 23 } }]);
  t.ok(
    await machine.waitForEntry({ since: before }, /^hub-pam@.*: Deactivated successfully/, 10_000),
    'ends with its caller',
  );
  await machine.writeFile(SERVICE, normal);
  t.same(await outcomes([['anna', ANNA]]), ['accepted']);
  const entries = await machine.journal({ since });
  t.ok(entries.some(({ message }) => /code=killed, status=11\/SEGV/.test(message)));
  t.notOk(
    entries.some(({ message }) => /code=dumped/.test(message)),
    'no core was written',
  );
  t.equal(await machine.run(['find', '/', '/tmp', '/var/tmp', '-xdev', '-maxdepth', '1', '-name', 'core*']), '');
});

t.test('a configuration that cannot be read admits nobody and says why', async (t) => {
  const file = '/etc/metalhub/metalhub.toml';
  const good = await machine.readFile(file);
  await machine.writeFile(file, good.replace('allow', 'alow'));
  const [answer] = await attempts([['anna', ANNA]]);
  t.match(answer?.result, { outcome: 'error', reason: /metalhub\.toml:3: login\[0\]\.alow: unknown key/ });
  await machine.writeFile(file, good.replace('["metalhub-users"]', '[]'));
  t.same(await outcomes([['anna', ANNA]]), ['denied']);
  await machine.writeFile(file, good);
});

t.test('M06: other accounts cannot connect, and connections are bounded', async (t) => {
  const call = { method: 'Authenticate', params: { name: 'anna', password: ANNA, remote_host: '' } } as const;
  for (const user of ['mallory', 'anna', 'metalhub-proxy', 'metalhub-logs']) {
    t.match(await callWire(machine, [call], user), [{ error: { message: /EACCES/ } }], user);
  }
  t.equal((await machine.run(['stat', '-c', '%U:%G %a', '/run/metalhub/pam.sock'])).trim(), 'root:metalhub 660');
  t.equal((await machine.run(['systemctl', 'show', '-P', 'MaxConnections', 'hub-pam.socket'])).trim(), '64');
  const dropIn = '/run/systemd/system/hub-pam.socket.d/few.conf';
  const restart = 'systemctl daemon-reload; systemctl restart hub-pam.socket';
  await machine.writeFile(dropIn, '[Socket]\nMaxConnections=3\n');
  await machine.shell(restart);
  const path = await machine.path('/run/metalhub/pam.sock');
  const sockets = Array.from({ length: 3 }, () => connect(path).on('error', () => undefined));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
  await machine.waitForEntry({}, /Started hub-pam@2-/);
  t.match(await callWire(machine, [call]), [{ error: { code: /MH_ERR_WIRE_/ } }], 'a fourth is turned away');
  for (const socket of sockets) socket.destroy();
  await machine.shell(`rm ${dropIn}; ${restart}`);
  t.same(await outcomes([['anna', ANNA]]), ['accepted'], 'and later ones are not');
});

t.test('no password is in the journal', async (t) => {
  const journal = await machine.run(['journalctl', '--all', '--output=export']);
  for (const text of [ANNA, SECRET]) t.notOk(journal.includes(text));
  const answered = (await machine.journal({ identifier: 'hub-pam' })).filter(
    ({ message }) => message === 'login attempt answered',
  );
  t.ok(answered.length > 50);
  t.ok(
    answered.every(({ fields }) => !JSON.stringify(fields).includes('nobody-has-this')),
    'nor a name in our own lines',
  );
});

/** A PAM module of our own whose argument says what it does. It needs no header: the interface is four words. */
function compileModule(): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'pam-fault-'));
  const source = `
    #include <fcntl.h>
    #include <locale.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/stat.h>
    #include <unistd.h>
    int pam_sm_authenticate(void *handle, int flags, int argc, const char **argv) {
      if (!strcmp(argv[0], "crash")) *(volatile int *)0 = 1;
      if (!strcmp(argv[0], "abort")) abort();
      if (!strcmp(argv[0], "exit")) exit(0);
      if (!strcmp(argv[0], "hang")) for (;;) sleep(1000);
      for (int i = 0; i < 100; i++) open("/dev/null", O_RDWR);
      umask(0);
      setlocale(LC_ALL, "C");
      return 0;
    }
    int pam_sm_setcred(void *handle, int flags, int argc, const char **argv) { return 0; }
  `;
  writeFileSync(join(directory, 'fault.c'), source);
  const output = join(directory, 'fault.so');
  execFileSync('gcc', ['-shared', '-fPIC', '-o', output, join(directory, 'fault.c')], { stdio: 'inherit' });
  return readFileSync(output);
}
