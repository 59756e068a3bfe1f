import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { ProxyStatus } from '@metalhub/wire/proxy-api.js';
import { type Command, type Context, print } from '../command.js';
import { formatDuration, formatTable, formatTime, printable } from '../output.js';

const COLUMNS = ['generation', 'pid', 'state', 'age', 'connections', 'websockets', 'memory', 'ends_by'];
const MEBIBYTE = 2 ** 20;

export const proxyStatus: Command = {
  name: 'proxy status',
  operands: [],
  summary: 'list the workers of the proxy and what they serve',
  async run(context) {
    const value = await ask(context);
    print(context, value, () => describe(value, Date.now()));
    return 0;
  },
};

/** The proxy itself answers root; others with a right to know it are answered by the hub. */
async function ask({ proxy, admin }: Context): Promise<ProxyStatus> {
  try {
    return (await proxy.get('/api/status')) as ProxyStatus;
  } catch (error) {
    const isForbidden = error instanceof MetalhubError && systemErrorCode(error.cause) === 'EACCES';
    if (!isForbidden) throw error;
  }
  const { proxy: known } = (await admin.get('/admin/status')) as {
    proxy: { status?: ProxyStatus; error?: string };
  };
  if (known.status !== undefined) return known.status;
  throw new MetalhubError('MH_ERR_PROXY_UNREACHABLE', {
    details: { reason: known.error ?? 'see journalctl -u hub-proxy' },
  });
}

function describe(
  { version, pid, uptime_sec, routes, hub_reachable, generations }: ProxyStatus,
  nowMs: number,
): string {
  const rows = generations.map((worker) => ({
    generation: worker.generation,
    pid: worker.pid,
    state: worker.draining ? 'draining' : 'accepting',
    age: formatDuration((nowMs - Date.parse(worker.started)) / 1000),
    connections: worker.connections,
    websockets: worker.tunnels,
    memory: worker.memory_bytes === undefined ? null : `${Math.round(worker.memory_bytes / MEBIBYTE)} MB`,
    ends_by: formatTime(worker.deadline),
  }));
  const supervisor = `hub-proxy ${printable(version)}, running for ${formatDuration(uptime_sec)} (process ${pid})`;
  const hub = hub_reachable === false ? '; the hub cannot be reached' : '';
  return `${supervisor}, ${routes} routes${hub}\n\n${formatTable(COLUMNS, rows)}`;
}
