import { parseKey, parseServerName } from '@metalhub/base/names.js';
import t from 'tap';
import { journalctlArguments } from './journalctl-arguments.js';

const anna = { key: parseKey('anna'), server: parseServerName(''), invocationId: null, lines: 20, follow: false };

function alternatives(args: readonly string[]): string[][] {
  const matches = args.filter((arg) => !arg.startsWith('--'));
  const groups: string[][] = [[]];
  for (const match of matches) {
    if (match === '+') groups.push([]);
    else groups.at(-1)?.push(match);
  }
  return groups;
}

t.test('each alternative hangs on a field that only journald sets, and names the one unit', async (t) => {
  for (const invocationId of [null, 'ab'.repeat(16)]) {
    for (const group of alternatives(journalctlArguments({ ...anna, invocationId }))) {
      t.ok(
        group.some((match) => match.startsWith('_')),
        group.join(' '),
      );
      t.ok(
        group.some((match) => match.endsWith('UNIT=jupyter-anna.service')),
        group.join(' '),
      );
      t.equal(
        group.some((match) => match.endsWith(`INVOCATION_ID=${invocationId}`)),
        invocationId !== null,
      );
    }
  }
});

t.test('what the unit itself may write counts only by _SYSTEMD_UNIT', async (t) => {
  for (const group of alternatives(journalctlArguments(anna))) {
    const isFromUnit = group.includes('_SYSTEMD_UNIT=jupyter-anna.service');
    t.ok(isFromUnit || group.includes('_PID=1') || group.includes('_UID=0'), group.join(' '));
  }
});

t.test('a named server is a unit of its own', async (t) => {
  const args = journalctlArguments({ ...anna, server: parseServerName('gpu-1') });
  t.ok(args.includes('_SYSTEMD_UNIT=jupyter-anna:gpu-1.service'));
  t.notOk(args.some((arg) => arg.includes('jupyter-anna.service')));
});

t.test('lines and follow are options of fixed form', async (t) => {
  t.ok(journalctlArguments({ ...anna, lines: 0 }).includes('--lines=0'));
  t.notOk(journalctlArguments(anna).includes('--follow'));
  t.ok(journalctlArguments({ ...anna, follow: true }).includes('--follow'));
});
