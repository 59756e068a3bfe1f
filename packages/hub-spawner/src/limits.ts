import { i32, property, U64_INFINITY, type UnitProperty, u64 } from '@metalhub/systemd/unit-property.js';
import type { PLAIN_PROPERTIES } from './profile-shape.js';
import type { SpawnerProfile } from './spawner-config.js';

/** Limits that stand on the user's slice, too, so that several servers of one user add up. */
export const LIMITS = [
  ...(['MemoryMax', 'MemoryHigh', 'MemoryLow', 'MemorySwapMax', 'CPUQuotaPerSecUSec', 'TasksMax'] as const),
  ...(['CPUWeight', 'IOWeight'] as const),
] as const;
export type LimitName = (typeof LIMITS)[number];

export const USEC_PER_SEC = 1_000_000n;
/** What systemd takes for a weight that is not set. */
export const USUAL_WEIGHT = 100n;

/** Limits as systemd names them, infinity as its own number; a weight is left out unless it is set. */
export function limitValues(profile: SpawnerProfile): Readonly<Partial<Record<LimitName, bigint>>> {
  const cpu = profile.cpu_quota_percent;
  return {
    MemoryMax: bytesOrInfinity(profile.memory_max_bytes),
    MemoryHigh: bytesOrInfinity(profile.memory_high_bytes),
    MemoryLow: BigInt(profile.memory_low_bytes ?? 0),
    MemorySwapMax: bytesOrInfinity(profile.swap_max_bytes),
    CPUQuotaPerSecUSec: cpu === 0 ? U64_INFINITY : (BigInt(cpu) * USEC_PER_SEC) / 100n,
    TasksMax: BigInt(profile.tasks_max),
    ...(profile.cpu_weight > 0 && { CPUWeight: BigInt(profile.cpu_weight) }),
    ...(profile.io_weight > 0 && { IOWeight: BigInt(profile.io_weight) }),
  };
}

/** Of a server, and of the user's slice. */
export function limitProperties(profile: SpawnerProfile): UnitProperty[] {
  const values = limitValues(profile);
  return LIMITS.flatMap((name) => {
    const value = values[name];
    return value === undefined ? [] : [u64(name, value)];
  });
}

/** {@link limitProperties} and what counts for each unit alone. */
export function serviceLimits(profile: SpawnerProfile): UnitProperty[] {
  const { cpu_set: cpus, properties } = profile;
  const plain = Object.entries(properties) as [keyof typeof PLAIN_PROPERTIES, number][];
  return [
    ...limitProperties(profile),
    ...(cpus.length === 0 ? [] : [property('AllowedCPUs', 'ay', cpuMask(cpus))]),
    ...plain.map(([name, value]) => plainProperty(name, value)),
  ];
}

function plainProperty(name: keyof typeof PLAIN_PROPERTIES, value: number): UnitProperty {
  if (name === 'Nice' || name === 'OOMScoreAdjust' || name === 'IOSchedulingPriority') return i32(name, value);
  return u64(name, BigInt(value));
}

/** One bit per processor, the lowest first. */
function cpuMask(cpus: readonly number[]): Buffer {
  const mask = Buffer.alloc(Math.floor(Math.max(...cpus) / 8) + 1);
  for (const cpu of cpus) mask.writeUInt8(mask.readUInt8(cpu >> 3) | (1 << (cpu & 7)), cpu >> 3);
  return mask;
}

function bytesOrInfinity(bytes: number | null): bigint {
  return bytes === null ? U64_INFINITY : BigInt(bytes);
}
