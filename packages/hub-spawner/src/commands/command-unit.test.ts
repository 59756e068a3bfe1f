import { parseKey } from '@metalhub/base/names.js';
import { type BusInput, Variant } from '@metalhub/systemd/variant.js';
import t from 'tap';
import { testProfile } from '../testing/profile.js';
import { dynamicAccount } from '../user-account.js';
import { userUnitProperties } from '../user-unit.js';
import { type CommandStreams, commandProperties } from './command-unit.js';

const key = parseKey('anna');
const user = { key, account: dynamicAccount(key, 70_001), profile: testProfile() };
const fds: CommandStreams = { kind: 'descriptors', fds: [7, 8, 9] };
const terminal: CommandStreams = { kind: 'terminal', path: '/dev/pts/5', term: 'xterm' };

function valuesOf(streams: CommandStreams): Record<string, BusInput> {
  const properties = commandProperties({ ...user, commandFile: '/run/x/command', streams });
  return Object.fromEntries(properties.map(([name, { value }]) => [name, value]));
}

t.test('a command has all that every unit of its user has', async (t) => {
  const values = valuesOf(fds);
  for (const [name, { value }] of userUnitProperties(user)) t.same(values[name], value, name);
});

t.test('S06: what runs is said by the credential alone, and nothing is expanded', async (t) => {
  const program = '/usr/lib/metalhub/run-command';
  t.same(valuesOf(fds)['ExecStartEx'], [[program, [program], ['no-env-expand']]]);
  t.same(valuesOf(fds)['LoadCredential'], [['command', '/run/x/command']]);
});

t.test('descriptors are passed as such, a terminal by its path', async (t) => {
  const [input] = commandProperties({ ...user, commandFile: '/x', streams: fds }).filter(
    ([name]) => name === 'StandardInputFileDescriptor',
  );
  t.same(input?.[1], new Variant('h', 7));
  t.match(valuesOf(fds), { StandardOutputFileDescriptor: 8, StandardErrorFileDescriptor: 9 });
  t.notOk('TTYPath' in valuesOf(fds));
  t.match(valuesOf(terminal), {
    StandardInput: 'tty',
    StandardOutput: 'tty',
    StandardError: 'tty',
    TTYPath: '/dev/pts/5',
  });
  t.ok((valuesOf(terminal)['Environment'] as string[]).includes('TERM=xterm'));
});

t.test(
  'no status of a command makes a failed unit, but those by which systemd says that it could not start it',
  async (t) => {
    const [statuses, signals] = valuesOf(fds)['SuccessExitStatus'] as [number[], number[]];
    t.ok([0, 1, 127, 199, 244, 255].every((status) => statuses.includes(status)));
    t.notOk([203, 217, 226].some((status) => statuses.includes(status)));
    t.ok(signals.includes(9) && signals.includes(15));
  },
);
