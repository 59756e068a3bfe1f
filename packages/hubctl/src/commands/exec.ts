import { MetalhubError } from '@metalhub/base/errors.js';
import { MAX_COMMAND_BYTES } from '@metalhub/wire/spawner-admin.js';
import type { Command } from '../command.js';
import { passStandardStreams } from '../standard-streams.js';
import { claimedUser, EXIT_NOT_RUN, RunningCommand } from '../user-command.js';
import { findUserKey } from '../user-key.js';

const SIGNALS = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP'] as const;

export const exec: Command = {
  name: 'exec',
  operands: ['user'],
  options: ['profile'],
  takesWords: true,
  failureStatus: EXIT_NOT_RUN,
  summary: 'run a command as a user, as in a terminal of their server',
  async run(context, [user = '']) {
    const words = [...context.words];
    if (Buffer.byteLength(words.join('\0')) >= MAX_COMMAND_BYTES) {
      const reason = `a command can have ${MAX_COMMAND_BYTES / 1024} KiB: give it more on standard input`;
      throw new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason } });
    }
    const key = await findUserKey(context, user);
    const streams = passStandardStreams();
    const command = new RunningCommand({
      key,
      socket: context.spawnerSocket,
      fds: streams.fds,
      onStarted: () => streams.handedOver(),
      ask: (spawner, onEvent) =>
        spawner.call(
          'Exec',
          { key, profile: context.profile ?? null, claimed: claimedUser(), command: words },
          { onEvent },
        ),
    });
    const forgetSignals = passSignals(command);
    try {
      const { status } = await command.run();
      await streams.drained();
      return status;
    } finally {
      forgetSignals();
      streams.close();
    }
  },
};

/**
 * What would end hubctl is the command's to deal with; asked to end a second time, or before the command has started,
 * hubctl goes, and so does the command.
 */
function passSignals(command: RunningCommand): () => void {
  let hasPassed = false;
  const pass = (signal: (typeof SIGNALS)[number]): void => {
    const isEnd = signal === 'SIGTERM' || signal === 'SIGHUP';
    if (isEnd && hasPassed) process.exit(EXIT_NOT_RUN);
    hasPassed ||= isEnd;
    if (!command.signal(signal)) process.exit(EXIT_NOT_RUN);
  };
  for (const signal of SIGNALS) process.on(signal, pass);
  return () => {
    for (const signal of SIGNALS) process.off(signal, pass);
  };
}
