import { logLineShape } from '@metalhub/wire/logs.js';
import t from 'tap';
import type { JournalEntry } from './export-parser.js';
import { cleanLine, toLogLines } from './log-line.js';

function entryOf(fields: Record<string, string | Buffer>): JournalEntry {
  return new Map(Object.entries(fields).map(([name, value]) => [name, Buffer.from(value as string)]));
}

t.test('an entry becomes a line with time, priority and program', async (t) => {
  const entry = {
    __REALTIME_TIMESTAMP: '1795369475510123',
    PRIORITY: '3',
    SYSLOG_IDENTIFIER: 'python3',
    MESSAGE: 'hello',
  };
  t.same(toLogLines(entryOf({ ...entry, _UID: '70001' })), [
    { time_ms: 1_795_369_475_510, priority: 3, identifier: 'python3', message: 'hello' },
  ]);
});

t.test('colours, titles and links of terminals leave no trace', async (t) => {
  t.equal(cleanLine('\x1b[1;31mred\x1b[0m'), 'red');
  t.equal(cleanLine('\x1b]0;title\x07text'), 'text');
  t.equal(cleanLine('\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\'), 'link');
  t.equal(cleanLine('a\x1b(Bb\x1b7c\x1b'), 'abc');
  t.equal(cleanLine('a\x1b[31'), 'a');
  t.equal(cleanLine('a\u202eb\u2028c\x00\x07\x9b\x7fd'), 'abcd');
  t.equal(cleanLine('a\tb'), 'a    b');
});

t.test('of a progress bar the last state is shown', async (t) => {
  t.equal(cleanLine('10%\r50%\r100%\r'), '100%');
});

t.test('escape sequences without an end take no time', async (t) => {
  const start = performance.now();
  cleanLine('\x1b]'.repeat(8000));
  cleanLine(`\x1b[${'0;'.repeat(8000)}`);
  t.ok(performance.now() - start < 1000);
});

t.test('a message of several lines becomes several, each within its bounds', async (t) => {
  const lines = toLogLines(entryOf({ MESSAGE: `first\n${'😀'.repeat(4000)}\nlast` }));
  t.equal(lines.length, 3);
  for (const line of lines) t.same(logLineShape(line, ''), line);
  t.match(lines[1]?.message, /^(?:😀)+…$/u);
});

t.test('bytes that are no text, and missing fields, do no harm', async (t) => {
  for (const entry of [{}, { MESSAGE: Buffer.from([0xff, 0xfe, 0x41]), PRIORITY: '9', __REALTIME_TIMESTAMP: '-1' }]) {
    const [line] = toLogLines(entryOf(entry));
    t.same(logLineShape(line, ''), line);
    t.equal(line?.priority, 6);
  }
});

t.test('a user’s process cannot pass for systemd or for us, root’s can', async (t) => {
  const names = [
    'systemd',
    'systemd-journald',
    '(systemd)',
    'SYSTEMD',
    ' systemd',
    'kernel',
    'hub',
    'hub-spawner',
    '\x1b[msystemd',
  ];
  for (const SYSLOG_IDENTIFIER of names) {
    t.equal(toLogLines(entryOf({ SYSLOG_IDENTIFIER, _UID: '70001' }))[0]?.identifier, 'server', SYSLOG_IDENTIFIER);
  }
  t.equal(toLogLines(entryOf({ SYSLOG_IDENTIFIER: 'systemd', _UID: '0' }))[0]?.identifier, 'systemd');
  t.equal(
    toLogLines(entryOf({ SYSLOG_IDENTIFIER: 'jupyterhub-singleuser', _UID: '1000' }))[0]?.identifier,
    'jupyterhub-singleuser',
  );
  t.equal(toLogLines(entryOf({ _COMM: 'sуstemd', _UID: '1000' }))[0]?.identifier, 's?stemd', 'a Cyrillic letter');
});
