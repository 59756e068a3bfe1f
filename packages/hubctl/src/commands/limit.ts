import { MetalhubError } from '@metalhub/base/errors.js';
import { parseBytes } from '@metalhub/config/bytes.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatTime, printable } from '../output.js';

interface Limits {
  memory_max_bytes?: number;
  cpu_quota_percent?: number;
  tasks_max?: number;
}

/** As a server's report has it. */
export type GivenLimits = Limits & { until: string | null };

const GIVE_BACK = 'default';

export const limit: Command = {
  name: 'limit',
  operands: ['user', 'limit'],
  isRepeated: true,
  summary: 'change what a running server may use: memory=8G cpu=200% tasks=500, or default',
  options: ['server', 'for'],
  async run(context, [user = '', ...words]) {
    const limits = words.join(' ') === GIVE_BACK ? null : parseLimits(words);
    if (limits === null && context.forSec !== undefined) throw usage('--for goes with limits, not with default');
    const body = { user, server: context.server, limits, for_sec: context.forSec ?? null };
    const value = (await context.admin.post('/admin/servers/limit', body)) as { limits: GivenLimits | null };
    print(context, value, () => {
      const what = value.limits === null ? 'what it was started with' : describeLimits(value.limits);
      return `the server of ${printable(user)} has ${what}`;
    });
    return 0;
  },
};

/** `memory 8G, cpu 200 % until 2026-11-23 14:00`. */
export function describeLimits({
  memory_max_bytes: memory,
  cpu_quota_percent: cpu,
  tasks_max: tasks,
  until,
}: GivenLimits): string {
  const parts = [
    ...(memory === undefined ? [] : [`memory ${formatBytes(memory)}`]),
    ...(cpu === undefined ? [] : [`cpu ${cpu}%`]),
    ...(tasks === undefined ? [] : [`tasks ${tasks}`]),
  ];
  return `${parts.join(', ')}${until === null ? '' : ` until ${formatTime(until)}`}`;
}

/** @throws {MH_ERR_CLI_USAGE} */
export function parseLimits(words: readonly string[]): Limits {
  const limits: Limits = {};
  for (const word of words) {
    const [, name, value = ''] = /^(memory|cpu|tasks)=(.*)$/.exec(word) ?? [];
    if (name === 'memory' && /^[1-9][0-9]{0,14}[KMGT]?$/.test(value)) {
      const bytes = parseBytes(value);
      if (bytes !== undefined) limits.memory_max_bytes = bytes;
    } else if (name === 'cpu' && /^[1-9][0-9]{0,5}%$/.test(value))
      limits.cpu_quota_percent = Number(value.slice(0, -1));
    else if (name === 'tasks' && /^[1-9][0-9]{0,6}$/.test(value)) limits.tasks_max = Number(value);
    else throw usage(`"${printable(word)}" is no limit: memory=8G, cpu=200%, tasks=500, or default by itself`);
  }
  return limits;
}

function formatBytes(bytes: number): string {
  const units = ['T', 'G', 'M', 'K'];
  for (const [index, unit] of units.entries()) {
    const size = 1024 ** (units.length - index);
    if (bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return String(bytes);
}

function usage(reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason }, hint: 'hubctl --help lists the commands' });
}
