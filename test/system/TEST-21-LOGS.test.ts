import type { LogLine } from '@metalhub/wire/logs.js';
import t from 'tap';
import { installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { callWire, type WireAnswer, type WireCall, wireBinds } from '../lib/wire-caller.js';

t.setTimeout(600_000);

let machine: Machine;

/** Sends an entry that claims to be another's, by the journal's own protocol, and stays until journald has seen who it is. */
const FORGER = `
import socket, time
forged = b"""MESSAGE=forged
UNIT=jupyter-x.service
OBJECT_SYSTEMD_UNIT=jupyter-x.service
COREDUMP_UNIT=jupyter-x.service
_SYSTEMD_UNIT=jupyter-x.service
_PID=1
_UID=0
SYSLOG_IDENTIFIER=systemd
"""
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(forged, "/run/systemd/journal/socket")
print("own line of y", flush=True)
time.sleep(2)
`;

const SPEAKER = `
import socket, sys, time
print("hello")
print("\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07done")
print("y" * 100000)
sys.stdout.flush()
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"MESSAGE\\n" + (3).to_bytes(8, "little") + b"\\xff\\nA\\nPRIORITY=2\\nSYSLOG_IDENTIFIER=systemd\\n", "/run/systemd/journal/socket")
time.sleep(2)
`;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter', binds: wireBinds() });
  await installDeb(machine);
  await machine.run(['useradd', '-m', 'xeno']);
  await machine.run(['useradd', '-m', 'yuri']);
  await machine.writeFile('/opt/forger.py', FORGER);
  await machine.writeFile('/opt/speaker.py', SPEAKER);
  await machine.run(['systemctl', 'start', 'hub-logs.socket']);
  await runUnit('jupyter-x', 'xeno', ['python3', '/opt/speaker.py']);
  await runUnit('jupyter-y', 'yuri', ['python3', '/opt/forger.py']);
  await runUnit('jupyter-x:second', 'xeno', ['echo', 'line of the named server']);
  await machine.run(['journalctl', '--sync']);
});

t.teardown(async () => {
  await machine?.stop();
});

async function runUnit(unit: string, user: string, argv: readonly string[]): Promise<void> {
  const properties = ['-p', `User=${user}`, '-p', 'Description=server'];
  await machine.run(['systemd-run', '--quiet', '--wait', `--unit=${unit}`, ...properties, ...argv]);
}

function callOf(change: object, abortMs?: number): WireCall {
  const params = { key: 'x', server: '', invocation_id: null, lines: 100, ...change };
  return { method: 'ReadServerLog', params, ...(abortMs !== undefined && { abortMs }) };
}

async function read(change: object, abortMs?: number): Promise<WireAnswer<object>> {
  const [answer] = await callWire<object>(machine, [callOf(change, abortMs)]);
  if (answer === undefined) throw new Error('no answer');
  return answer;
}

function messages(lines: readonly LogLine[]): string[] {
  return lines.map(({ message }) => message);
}

t.test('a server’s log has its lines, cleaned and cut, and systemd’s about it', async (t) => {
  const { events, result } = await read({});
  t.same(result, {});
  t.ok(messages(events).includes('hello'));
  t.ok(messages(events).includes('red done'));
  t.match(
    messages(events).find((text) => text.startsWith('yyy')),
    /^y{4095}…$/,
  );
  t.ok(events.some(({ identifier, message }) => identifier === 'systemd' && /Deactivated successfully/.test(message)));
  t.ok(events.every(({ message }) => message.length <= 4096 && !/\p{Cc}/u.test(message)));
});

t.test('bytes that are no text are shown, and a user’s process does not pass for systemd', async (t) => {
  const { events } = await read({});
  const odd = events.filter(({ priority }) => priority === 2);
  t.same(
    odd.map(({ identifier, message }) => [identifier, message]),
    [
      ['server', '\ufffd'],
      ['server', 'A'],
    ],
  );
});

t.test('nobody gets a line into another’s log, whatever fields they send', async (t) => {
  const forged = (await machine.journal()).filter(({ message }) => message === 'forged');
  t.equal(forged.length, 1, 'the forged entry is in the journal');
  t.equal(forged[0]?.fields._SYSTEMD_UNIT, 'jupyter-y.service');
  t.notOk(messages((await read({})).events).includes('forged'));
  const own = (await read({ key: 'y' })).events;
  t.match(
    own.find(({ message }) => message === 'forged'),
    { identifier: 'server' },
    'in their own they may write what they like',
  );
  t.ok(messages(own).includes('own line of y'));
  t.notOk(messages(own).includes('hello'));
});

t.test('a named server has a log of its own, and an unknown one an empty log', async (t) => {
  const { events } = await read({ server: 'second' });
  t.ok(messages(events).includes('line of the named server'));
  t.notOk(messages(events).includes('hello'));
  t.notOk(messages((await read({})).events).includes('line of the named server'));
  t.same((await read({ key: 'nobody' })).events, []);
});

t.test('one start of a server can be asked for', async (t) => {
  const first = await machine.journal({ unit: 'jupyter-x.service' });
  const id = first.find(({ message }) => message === 'hello')?.fields._SYSTEMD_INVOCATION_ID;
  await runUnit('jupyter-x', 'xeno', ['sh', '-c', 'echo second start; sleep 1']);
  const { events } = await read({ invocation_id: id });
  t.ok(messages(events).includes('hello'));
  t.ok(messages(events).some((text) => /Deactivated/.test(text)));
  t.notOk(messages(events).includes('second start'));
  t.ok(messages((await read({})).events).includes('second start'));
});

t.test('the last lines are the last ones', async (t) => {
  t.equal((await read({ lines: 1 })).events.length, 1);
  t.same((await read({ lines: 0 })).events, []);
});

t.test('following ends with the caller, and journalctl with it', async (t) => {
  const since = await machine.cursor();
  await machine.shell('systemd-run --quiet --unit=jupyter-z -p User=xeno sh -c "while sleep 0.2; do echo tick; done"');
  const { events, error } = await read({ key: 'z', lines: 0, follow: true }, 4000);
  t.equal(error?.code, 23, 'it was the caller’s time-out');
  t.ok(messages(events).filter((text) => text === 'tick').length > 3, `${events.length} lines`);
  await machine.waitForEntry({ since }, /^hub-logs@.*: Deactivated successfully/, 10_000);
  t.equal((await machine.exec(['pgrep', '-x', 'journalctl', '-u', 'metalhub-logs'])).code, 1);
  await machine.run(['systemctl', 'stop', 'jupyter-z.service']);
});

t.test('keys, servers and ids that are none are refused, and nothing runs', async (t) => {
  const changes = [
    { key: 'x y' },
    { key: '-x' },
    { key: '' },
    { server: '../x' },
    { invocation_id: '--file=/etc/shadow' },
  ];
  for (const change of [...changes, { lines: -1 }, { lines: 10_001 }, { unit: 'ssh.service' }]) {
    t.match((await read(change)).error, { code: /MH_ERR_WIRE_/ }, JSON.stringify(change));
  }
});

t.test('M06: other accounts cannot connect', async (t) => {
  for (const user of ['xeno', 'metalhub-proxy', 'metalhub-logs']) {
    t.match(await callWire(machine, [callOf({})], user), [{ error: { message: /EACCES/ } }], user);
  }
});

t.test('the reader reads the journal and nothing else', async (t) => {
  const show = (property: string): Promise<string> =>
    machine.run(['systemctl', 'show', '-P', property, 'hub-logs@1.service']);
  t.match(await show('SupplementaryGroups'), /^systemd-journal$/m);
  t.match(await show('CapabilityBoundingSet'), /^\n?$/);
  t.match(await show('User'), /^metalhub-logs$/m);
});
