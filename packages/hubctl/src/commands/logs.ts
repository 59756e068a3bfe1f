import { isErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import type { Command } from '../command.js';
import { formatTime, printable } from '../output.js';

interface LogLine {
  time_ms: number;
  identifier: string;
  message: string;
}

export const logs: Command = {
  name: 'logs',
  operands: ['user'],
  summary: "show the journal of a user's server",
  options: ['follow', 'lines', 'server'],
  async run(context, [user = '']) {
    const query = new URLSearchParams({ user, server: context.server, lines: String(context.lines) });
    if (context.follow) query.set('follow', 'true');
    for await (const entry of context.admin.stream('GET', `/admin/logs?${query}`)) {
      if (isErrorCode(entry['code'])) {
        const { code, message, hint } = entry;
        throw new MetalhubError(code, { message: String(message), hint: typeof hint === 'string' ? hint : undefined });
      }
      context.stdout(context.json ? `${JSON.stringify(entry)}\n` : formatLine(entry as unknown as LogLine));
    }
    return 0;
  },
};

function formatLine({ time_ms, identifier, message }: LogLine): string {
  return `${formatTime(time_ms) ?? ''} ${printable(identifier)}: ${printable(message)}\n`;
}
