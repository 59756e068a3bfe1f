import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseKey } from '@metalhub/base/names.js';
import { startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { Variant } from '@metalhub/systemd/variant.js';
import t from 'tap';
import { testProfile } from './testing/profile.js';
import { createUserSlices } from './user-slices.js';

const INFINITY = 0xffff_ffff_ffff_ffffn;
const profile = testProfile('memory_max = "4G"\ncpu_quota_percent = 200\ntasks_max = 100');

t.test('a second server raises limits of the slice that are lower than its own, and lowers none', async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'slices-')), 'bus');
  const fake = await startFakeSystemd(path);
  const manager = await connectManager({ socketPath: path });
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  const present: Record<string, bigint> = {
    MemoryMax: 2n ** 31n,
    MemoryHigh: 2n ** 31n,
    CPUQuotaPerSecUSec: INFINITY,
    TasksMax: 200n,
    MemorySwapMax: INFINITY,
  };
  fake.answer('Get', ([, name]) => ({ signature: 'v', body: [new Variant('t', present[String(name)] ?? 0n)] }));
  const set: unknown[] = [];
  fake.answer('SetUnitProperties', (body) => {
    set.push(body);
    return {};
  });
  const slices = createUserSlices(manager);
  await slices.raise(parseKey('anna'), profile);
  t.same(set, [
    [
      'jupyter-anna.slice',
      true,
      [
        ['MemoryMax', 2n ** 32n],
        ['MemoryHigh', INFINITY],
      ],
    ],
  ]);
  Object.assign(present, { MemoryMax: INFINITY, MemoryHigh: INFINITY });
  await slices.raise(parseKey('anna'), profile);
  t.equal(set.length, 1, 'nothing to raise');
});
