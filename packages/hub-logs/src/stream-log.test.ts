import type { LogLine } from '@metalhub/wire/logs.js';
import t from 'tap';
import { streamLog } from './stream-log.js';

const entry = (message: string): string => `__REALTIME_TIMESTAMP=1000000\nMESSAGE=${message}\n\n`;

function collect() {
  const lines: LogLine[] = [];
  const end = new AbortController();
  const sink = { emit: (line: LogLine) => void lines.push(line), drained: async () => {}, signal: end.signal };
  return { lines, end, sink };
}

t.test('passes on what the command prints until it ends', async (t) => {
  const { lines, sink } = collect();
  await streamLog(['-c', `printf '%s' '${entry('one')}${entry('two')}'`], sink, '/bin/sh');
  t.same(
    lines.map(({ message }) => message),
    ['one', 'two'],
  );
});

t.test('the listener’s end is the command’s end', async (t) => {
  const { lines, end, sink } = collect();
  const script = `printf '%s' '${entry('pid')}'; exec sleep 600`;
  const emit = (line: LogLine): void => {
    lines.push(line);
    end.abort();
  };
  await streamLog(['-c', script], { ...sink, emit }, '/bin/sh');
  t.equal(lines.length, 1);
});

t.test('a listener who is gone already starts nothing', async (t) => {
  const { lines, end, sink } = collect();
  end.abort();
  await streamLog(['-c', 'echo; false'], sink, '/bin/sh');
  t.same(lines, []);
});

t.test('a command that fails, or is not there, is an error with its complaint', async (t) => {
  const { sink } = collect();
  const failing = streamLog(['-c', 'echo "no \x1b[31mjournal" >&2; exit 1'], sink, '/bin/sh');
  await t.rejects(failing, { code: 'MH_ERR_LOGS_JOURNAL', details: { reason: 'no journal' } });
  await t.rejects(streamLog([], sink, '/nonexistent'), { code: 'MH_ERR_LOGS_JOURNAL', details: { reason: /ENOENT/ } });
});

t.test('a reader that does not take more stops the command’s output', async (t) => {
  const { lines, end, sink } = collect();
  const stuck = new Promise<void>((resolve) => end.signal.addEventListener('abort', () => resolve()));
  const script = `while :; do printf '__REALTIME_TIMESTAMP=1\\nMESSAGE=x\\n\\n'; done`;
  const stream = streamLog(['-c', script], { ...sink, drained: () => stuck }, '/bin/sh');
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = lines.length;
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(lines.length, before);
  end.abort();
  await stream;
});
