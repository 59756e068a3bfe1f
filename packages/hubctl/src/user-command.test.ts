import { createServer } from 'node:net';
import { join } from 'node:path';
import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { RunningCommand } from './user-command.js';

t.test('a signal is passed on as soon as there is a command', async (t) => {
  const socket = join(t.testdir(), 'socket');
  const server = createServer((connection) => connection.on('error', () => connection.destroy()));
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  t.teardown(() => server.close());
  const passed: boolean[] = [];
  const command: RunningCommand = new RunningCommand({
    key: parseKey('anna'),
    socket,
    fds: [],
    onStarted: () => undefined,
    ask: async (_, onEvent) => {
      passed.push(command.signal('SIGINT'));
      onEvent({ event: 'started', id: '01234567' });
      passed.push(command.signal('SIGINT'));
      return { status: 130, result: 'success' };
    },
  });
  t.same(await command.run(), { status: 130, result: 'success' });
  t.same(passed, [false, true]);
});
