import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatDuration, printable } from '../output.js';

interface Status {
  version: string;
  pid: number;
  uptime_sec: number;
  users: number;
  servers: Record<string, number>;
  logins_allowed: boolean;
  proxy: { reachable: boolean; error?: string; status?: { routes: number; generations: { generation: number }[] } };
  spawner: { reachable: boolean | null };
}

export const status: Command = {
  name: 'status',
  operands: [],
  summary: 'show what the hub is doing',
  async run(context) {
    const value = (await context.admin.get('/admin/status')) as Status;
    print(context, value, () => describe(value));
    return value.proxy.reachable && value.proxy.error === undefined ? 0 : 1;
  },
};

function describe(value: Status): string {
  const servers = Object.entries(value.servers).map(([state, count]) => `${count} ${state}`);
  const lines = [
    `hub      ${printable(value.version)}, running for ${formatDuration(value.uptime_sec)} (process ${value.pid})`,
    `logins   ${value.logins_allowed ? 'allowed' : 'nobody may log in: see allow under [[login]] in metalhub.toml(5)'}`,
    `users    ${value.users}`,
    `servers  ${servers.length === 0 ? 'none' : servers.join(', ')}`,
    `proxy    ${describeProxy(value.proxy)}`,
  ];
  if (value.spawner.reachable === false) lines.push('spawner  cannot be reached: see journalctl -u hub-spawner');
  return lines.join('\n');
}

function describeProxy(proxy: Status['proxy']): string {
  if (!proxy.reachable) return `cannot be reached: ${printable(proxy.error ?? 'see journalctl -u hub-proxy')}`;
  const { routes = 0, generations = [] } = proxy.status ?? {};
  const draining = new Set(generations.map(({ generation }) => generation)).size - 1;
  if (proxy.error !== undefined) return `${routes} routes, and takes no others: ${printable(proxy.error)}`;
  return `${routes} routes${draining > 0 ? `, ${draining} earlier generations still serve connections` : ''}`;
}
