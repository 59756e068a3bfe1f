import { isatty } from 'node:tty';
import { MetalhubError } from '@metalhub/base/errors.js';
import { callerEnvironment } from '@metalhub/systemd/environment.js';
import type { Command } from '../command.js';
import { openTerminal } from '../terminal.js';
import { claimedUser, EXIT_NOT_RUN, RunningCommand } from '../user-command.js';
import { findUserKey } from '../user-key.js';

export const shell: Command = {
  name: 'shell',
  operands: ['user'],
  options: ['profile'],
  failureStatus: EXIT_NOT_RUN,
  summary: 'open a shell as a user, as a terminal of their server does',
  async run(context, [user = '']) {
    if (!isatty(0) || !isatty(1)) {
      throw new MetalhubError('MH_ERR_CLI_USAGE', {
        details: { reason: 'shell is for terminals' },
        hint: 'in a pipe use: hubctl exec <user> -- bash',
      });
    }
    const key = await findUserKey(context, user);
    const terminal = await openTerminal();
    const command = new RunningCommand({
      key,
      socket: context.spawnerSocket,
      fds: [terminal.slaveFd],
      onStarted: () => terminal.connect(),
      ask: (spawner, onEvent) =>
        spawner.call(
          'Shell',
          { key, profile: context.profile ?? null, claimed: claimedUser(), term: terminalType() },
          { onEvent },
        ),
    });
    try {
      const { status } = await command.run();
      await terminal.drained();
      return status;
    } finally {
      terminal.close();
    }
  },
};

function terminalType(): string {
  const { terminal = '' } = callerEnvironment();
  return /^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$/.test(terminal) ? terminal : 'dumb';
}
