import t from 'tap';
import { changedLimits, formatLimits, type LimitValues, mostOf, parseLimits } from './live-limits.js';

const INFINITY = 0xffff_ffff_ffff_ffffn;
const original: LimitValues = {
  MemoryMax: 4n * 2n ** 30n,
  MemoryHigh: 3n * 2n ** 30n,
  CPUQuotaPerSecUSec: 1_000_000n,
  TasksMax: 4096n,
};
const server = {
  start_timeout_sec: 60,
  stop_timeout_sec: 10,
  memory_ceiling_bytes: 8 * 2 ** 30,
  cpu_ceiling_percent: 400,
  tasks_ceiling: 10_000,
};
const machine = { memoryBytes: 16 * 2 ** 30, cores: 2 };

t.test('limits are changed one by one; what is not named stays', async (t) => {
  t.same(changedLimits(original, { tasks_max: 10_000 }, server, machine), { ...original, TasksMax: 10_000n });
  t.same(changedLimits(original, { cpu_quota_percent: 250 }, server, machine), {
    ...original,
    CPUQuotaPerSecUSec: 2_500_000n,
  });
  t.same(
    changedLimits(original, { memory_max_bytes: 8 * 2 ** 30 }, server, machine),
    { ...original, MemoryMax: 8n * 2n ** 30n, MemoryHigh: INFINITY },
    'and nothing slows it down before',
  );
  t.same(changedLimits(original, {}, server, machine), original, 'nothing named: as at the start');
});

t.test('S03: no limit goes above the ceiling, nor above the machine where none is named', async (t) => {
  const above = [
    [{ memory_max_bytes: 8 * 2 ** 30 + 1 }, server],
    [{ cpu_quota_percent: 401 }, server],
    [{ tasks_max: 10_001 }, server],
    [{ memory_max_bytes: 16 * 2 ** 30 + 1 }, { ...server, memory_ceiling_bytes: null }],
    [{ cpu_quota_percent: 201 }, { ...server, cpu_ceiling_percent: 0 }],
  ] as const;
  for (const [limits, ceilings] of above) {
    t.throws(() => changedLimits(original, limits, ceilings, machine), { code: 'MH_ERR_SPAWN_LIMIT' });
  }
  const profile = { ...original, MemoryMax: 12n * 2n ** 30n };
  t.same(
    changedLimits(profile, { memory_max_bytes: 12 * 2 ** 30 }, server, machine).MemoryMax,
    12n * 2n ** 30n,
    'what root gave it at the start it may have again',
  );
});

t.test('the limits at the start are kept as text', async (t) => {
  const values = { ...original, MemoryHigh: INFINITY };
  t.equal(formatLimits(values), '4294967296,infinity,1000000,4096');
  t.same(parseLimits(formatLimits(values)), values);
  for (const text of ['', '1,2,3', '1,2,3,x', '1,2,3,4,5', '-1,2,3,4']) t.equal(parseLimits(text), undefined, text);
});

t.test('servers of one user have together the most of what they have each', async (t) => {
  t.equal(mostOf([]), undefined);
  t.same(mostOf([original, { ...original, MemoryMax: INFINITY, TasksMax: 16n }]), { ...original, MemoryMax: INFINITY });
});
