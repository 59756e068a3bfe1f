import { parseBytes } from '@metalhub/config/bytes.js';
import type { Config } from '@metalhub/config/schema.js';
import type { SpawnerConfig } from './spawner-config.js';

/** The spawner's part of the table `server`; the rest is the hub's. */
export function serverEntry(server: Config['server']): SpawnerConfig['server'] {
  return {
    start_timeout_sec: server.start_timeout_sec,
    stop_timeout_sec: server.stop_timeout_sec,
    memory_ceiling_bytes: parseBytes(server.memory_ceiling) ?? null,
    cpu_ceiling_percent: server.cpu_ceiling_percent,
    tasks_ceiling: server.tasks_ceiling,
  };
}
