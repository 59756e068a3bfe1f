import { MetalhubError } from '@metalhub/base/errors.js';
import type { Command, Context } from '../command.js';
import { print } from '../command.js';
import { formatTable, formatTime, printable } from '../output.js';
import { describeLimits, type GivenLimits } from './limit.js';

interface Server {
  user: string;
  name: string;
  state: string;
  profile: string | null;
  started_at: string | number | null;
  url: string;
  unit: string;
  failure: { message: string; hint: string | null } | null;
  frozen: boolean;
  limits: GivenLimits | null;
  ended: 'idle' | 'age' | null;
}

interface Progress {
  progress?: number;
  message?: string;
  ready?: boolean;
  failed?: boolean;
  failure?: { message: string; hint?: string | null; logLines?: string[] };
}

const ENDS = { idle: 'stopped: nobody used it', age: 'stopped: it ran for as long as it may' } as const;

export const servers: Command = {
  name: 'servers',
  operands: [],
  summary: 'list the servers of all users',
  async run(context) {
    const value = (await context.admin.get('/admin/servers')) as { servers: Server[] };
    const rows = value.servers.map((server) => ({
      user: server.user,
      server: server.name,
      state: server.frozen ? 'frozen' : server.state,
      profile: server.profile,
      started: formatTime(server.started_at),
      unit: server.unit,
      limits: server.limits === null ? null : describeLimits(server.limits),
      note: server.failure?.message ?? (server.ended === null ? null : ENDS[server.ended]),
    }));
    print(context, value, () =>
      formatTable(['user', 'server', 'state', 'profile', 'started', 'unit', 'limits', 'note'], rows),
    );
    return 0;
  },
};

export const start: Command = {
  name: 'start',
  operands: ['user'],
  summary: "start a user's server and wait until it is ready",
  options: ['server', 'profile', 'choice'],
  async run(context, [user = '']) {
    const { server, profile, choices } = context;
    const body = { user, server, ...(profile !== undefined && { profile }), ...(choices !== undefined && { choices }) };
    let last: Progress = {};
    for await (const event of context.admin.stream('POST', '/admin/servers/start', body)) {
      last = event;
      context.stdout(context.json ? `${JSON.stringify(event)}\n` : progressLine(last));
    }
    if (last.ready === true) return 0;
    if (last.failed !== true) {
      throw new MetalhubError('MH_ERR_WIRE_CLOSED', {
        details: { peer: 'hub' },
        hint: 'look again with: hubctl servers',
      });
    }
    if (!context.json) explainFailure(context, last);
    return 1;
  },
};

export const stop: Command = {
  name: 'stop',
  operands: ['user'],
  summary: "stop a user's server",
  options: ['server'],
  async run(context, [user = '']) {
    const value = await context.admin.post('/admin/servers/stop', { user, server: context.server });
    print(context, value, () => `stopped the server of ${printable(user)}`);
    return 0;
  },
};

function progressLine({ message = '' }: Progress): string {
  return `${printable(message)}\n`;
}

function explainFailure(context: Context, { failure }: Progress): void {
  for (const line of failure?.logLines ?? []) context.stderr(`    ${printable(line)}\n`);
  if (typeof failure?.hint === 'string') context.stderr(`${printable(failure.hint)}\n`);
}
