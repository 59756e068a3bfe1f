import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import { systemClock } from '@metalhub/base/time.js';
import t from 'tap';
import { createLeaseStore, type LeaseStoreOptions } from './leases.js';

const range = { min: 70_000, max: 70_009 };
const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};

function open(file: string, options: Partial<LeaseStoreOptions> = {}) {
  const store = createLeaseStore({ file, clock: systemClock, log, isUidTaken: async () => false, ...options });
  const uidOf = async (name: string) => (await store.lease(parseKey(name), parseIdentity(`pam:${name}`), range)).uid;
  return { ...store, uidOf };
}

t.test('a lease is kept by the next process, and asked for at once it is given once', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const first = open(file);
  t.same(await Promise.all(['anna', 'bob', 'anna', 'bob'].map(first.uidOf)), [70_000, 70_001, 70_000, 70_001]);
  const second = open(file);
  t.equal(await second.uidOf('bob'), 70_001);
  t.equal(await second.uidOf('cleo'), 70_002);
  t.same(readdirSync(join(file, '..')), ['leases.json'], 'no temporary file stays');
});

t.test('a uid that the machine knows already is passed over', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  t.equal(await open(file, { isUidTaken: async (uid) => uid < 70_002 }).uidOf('anna'), 70_002);
});

t.test('a full range is an error that names it; known keys still get theirs', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const store = open(file);
  for (let index = 0; index < 10; index++) await store.uidOf(`k${index}`);
  await t.rejects(store.uidOf('late'), { code: 'MH_ERR_SPAWN_RANGE_FULL', details: range });
  t.equal(await store.uidOf('k3'), 70_003);
});

t.test('a damaged file is an error each time, is left as it is, and works once it is repaired', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  await open(file).uidOf('anna');
  const good = readFileSync(file, 'utf8');
  writeFileSync(file, good.slice(0, 20));
  const store = open(file);
  await t.rejects(store.uidOf('anna'), { code: 'MH_ERR_SPAWN_LEASES' });
  await t.rejects(store.uidOf('bob'), { code: 'MH_ERR_SPAWN_LEASES' });
  t.equal(readFileSync(file, 'utf8'), good.slice(0, 20));
  writeFileSync(file, good);
  t.equal(await store.uidOf('anna'), 70_000);
});

t.test('a lease that could not be stored is not given, nor remembered', async (t) => {
  const directory = t.testdir({ sub: {} });
  const store = open(join(directory, 'missing', 'leases.json'));
  await t.rejects(store.uidOf('anna'), { code: 'MH_ERR_SPAWN_LEASES' });
  await t.rejects(store.uidOf('anna'), { code: 'MH_ERR_SPAWN_LEASES' });
});
