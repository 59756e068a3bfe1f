import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { parseKey } from '@metalhub/base/names.js';
import { findUnitOfPath, unitObjectPath } from '@metalhub/systemd/escape.js';
import { startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { Variant } from '@metalhub/systemd/variant.js';
import t, { type Test } from 'tap';
import { testProfile } from './testing/profile.js';
import { createUserSlices } from './user-slices.js';

const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};
const INFINITY = 0xffff_ffff_ffff_ffffn;
const profile = testProfile('memory_max = "4G"\ncpu_quota_percent = 200\ntasks_max = 100');

async function setUp(t: Test) {
  const path = join(mkdtempSync(join(tmpdir(), 'slices-')), 'bus');
  const fake = await startFakeSystemd(path);
  const manager = await connectManager({ socketPath: path });
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  const set: unknown[] = [];
  fake.answer('SetUnitProperties', (body) => {
    set.push(body);
    return {};
  });
  return { fake, set, slices: createUserSlices({ manager, log }) };
}

t.test('a second server raises limits of the slice that are lower than its own, and lowers none', async (t) => {
  const { fake, set, slices } = await setUp(t);
  const present: Record<string, bigint> = {
    MemoryMax: 2n ** 31n,
    MemoryHigh: 2n ** 31n,
    CPUQuotaPerSecUSec: INFINITY,
    TasksMax: 200n,
    MemorySwapMax: INFINITY,
  };
  fake.answer('Get', ([, name]) => ({ signature: 'v', body: [new Variant('t', present[String(name)] ?? 0n)] }));
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
  fake.answer('Get', () => ({ error: 'org.freedesktop.DBus.Error.Failed' }));
  await t.resolves(slices.raise(parseKey('anna'), profile), 'the unit runs all the same');
});

t.test(
  'the slice has the most of all that runs as the user, commands too, and of nothing that has ended',
  async (t) => {
    const { fake, set, slices } = await setUp(t);
    const memory = new Map([
      ['jupyter-anna.service', 2n ** 32n],
      ['jupyter-anna-exec-01234567.service', 2n ** 35n],
    ]);
    const names = [...memory.keys(), 'jupyter-anna:ended.service'];
    let patterns: unknown;
    fake.answer('ListUnitsByPatterns', ([, asked]) => {
      patterns = asked;
      const rows = names.map((name) => [name, '', 'loaded', 'active', 'running', '', unitObjectPath(name), 0, '', '/']);
      return { signature: 'a(ssssssouso)', body: [rows] };
    });
    // systemd makes up what it does not have: inactive, and without limits.
    fake.answer('Get', ([, property], path) => {
      const limit = memory.get(findUnitOfPath(path) ?? '');
      const isState = property === 'ActiveState';
      const value = isState
        ? new Variant('s', limit === undefined ? 'inactive' : 'active')
        : new Variant('t', limit ?? INFINITY);
      return { signature: 'v', body: [value] };
    });
    await slices.fit(parseKey('anna'));
    t.same(patterns, ['jupyter-anna.service', 'jupyter-anna:*.service', 'jupyter-anna-exec-*.service']);
    t.match(set, [['jupyter-anna.slice', true, [['MemoryMax', 2n ** 35n]]]]);
    memory.clear();
    await slices.fit(parseKey('anna'));
    t.equal(set.length, 1, 'nothing runs');
  },
);
