import { MetalhubError } from '@metalhub/base/errors.js';
import { U64_INFINITY } from '@metalhub/systemd/unit-property.js';
import type { ServerLimits } from '@metalhub/wire/spawner.js';
import { limitValues, USEC_PER_SEC } from './limits.js';
import type { SpawnerConfig, SpawnerProfile } from './spawner-config.js';

/** Limits that are changed while a server runs. */
export const LIVE_LIMITS = ['MemoryMax', 'MemoryHigh', 'CPUQuotaPerSecUSec', 'TasksMax'] as const;
export type LimitValues = Readonly<Record<(typeof LIVE_LIMITS)[number], bigint>>;

/** What a profile gives of them; infinity where it says nothing. */
export function liveLimitsOf(profile: SpawnerProfile): LimitValues {
  const values = limitValues(profile);
  return Object.fromEntries(LIVE_LIMITS.map((name) => [name, values[name] ?? U64_INFINITY])) as LimitValues;
}

/** The limits of a unit as text, for a variable of its own: what it falls back to, whatever the configuration says by then. */
export function formatLimits(values: LimitValues): string {
  return LIVE_LIMITS.map((name) => (values[name] === U64_INFINITY ? 'infinity' : String(values[name]))).join(',');
}

/** What the machine has, the ceiling where the configuration names none. */
export interface MachineSize {
  readonly memoryBytes: number;
  readonly cores: number;
}

/** `undefined` when it is not what `formatLimits` makes. */
export function parseLimits(text: string): LimitValues | undefined {
  const parts = text.split(',');
  if (parts.length !== LIVE_LIMITS.length || !parts.every((part) => /^(?:infinity|[0-9]{1,19})$/.test(part)))
    return undefined;
  const values = parts.map((part) => (part === 'infinity' ? U64_INFINITY : BigInt(part)));
  return Object.fromEntries(LIVE_LIMITS.map((name, index) => [name, values[index]])) as LimitValues;
}

/**
 * What a server gets that has `original` and shall have `wanted`.
 * @throws {MH_ERR_SPAWN_LIMIT} it is more than it was started with, and more than the ceiling
 */
export function changedLimits(
  original: LimitValues,
  wanted: ServerLimits,
  { memory_ceiling_bytes, cpu_ceiling_percent, tasks_ceiling }: SpawnerConfig['server'],
  machine: MachineSize,
): LimitValues {
  const { memory_max_bytes: memory, cpu_quota_percent: cpu, tasks_max: tasks } = wanted;
  const cpuCeiling = cpu_ceiling_percent === 0 ? 100 * machine.cores : cpu_ceiling_percent;
  const changed: Partial<Record<keyof LimitValues, bigint>> = {};
  if (memory !== undefined) {
    const ceiling = memory_ceiling_bytes ?? machine.memoryBytes;
    changed.MemoryMax = allowed('memory', BigInt(memory), original.MemoryMax, BigInt(ceiling));
    // It would slow the server down long before it has what it was given.
    changed.MemoryHigh = U64_INFINITY;
  }
  if (cpu !== undefined) {
    const usec = (percent: number): bigint => (BigInt(percent) * USEC_PER_SEC) / 100n;
    changed.CPUQuotaPerSecUSec = allowed('cpu', usec(cpu), original.CPUQuotaPerSecUSec, usec(cpuCeiling));
  }
  if (tasks !== undefined) changed.TasksMax = allowed('tasks', BigInt(tasks), original.TasksMax, BigInt(tasks_ceiling));
  return { ...original, ...changed };
}

/** The most that any of these allows, each by itself. */
export function mostOf(all: readonly LimitValues[]): LimitValues | undefined {
  const [first, ...others] = all;
  if (first === undefined) return undefined;
  const most = { ...first };
  for (const values of others) {
    for (const name of LIVE_LIMITS) if (values[name] > most[name]) most[name] = values[name];
  }
  return most;
}

function allowed(name: 'memory' | 'cpu' | 'tasks', wanted: bigint, original: bigint, ceiling: bigint): bigint {
  if (wanted <= ceiling || wanted <= original) return wanted;
  const shown = (value: bigint): string => {
    if (name === 'memory') return `${value / 2n ** 20n}M`;
    return name === 'cpu' ? `${value / (USEC_PER_SEC / 100n)}%` : String(value);
  };
  throw new MetalhubError('MH_ERR_SPAWN_LIMIT', {
    details: { name, wanted: shown(wanted), ceiling: shown(ceiling) },
    hint: `root can raise it: server.${name}_ceiling${name === 'cpu' ? '_percent' : ''} in metalhub.toml(5)`,
  });
}
