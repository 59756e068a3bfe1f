import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import { systemClock } from '@metalhub/base/time.js';
import t from 'tap';
import type { FoundHome } from './homes.js';
import { createLeaseStore, type LeaseStoreOptions } from './leases.js';

const range = { min: 70_000, max: 70_009 };
const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};

function home(name: string, uid = 65_534): FoundHome {
  return { key: parseKey(name), uid, isDirectory: true, isUsed: true };
}

function open(file: string, options: Partial<LeaseStoreOptions> = {}) {
  const store = createLeaseStore({
    file,
    clock: systemClock,
    log,
    readTakenUids: async () => async () => false,
    findHomes: async () => [],
    ...options,
  });
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
  let reads = 0;
  const readTakenUids = async () => {
    reads++;
    return async (uid: number) => uid < 70_002;
  };
  t.equal(await open(file, { readTakenUids }).uidOf('anna'), 70_002);
  t.equal(reads, 1, 'once for all of them');
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

t.test('without leases but with homes nobody is let in, until the file is back or the homes are adopted', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const findHomes = async () => [home('anna'), home('bob')];
  const lost = open(file, { findHomes });
  const refusal = { code: 'MH_ERR_SPAWN_LEASES_LOST', details: { homes: 2 }, hint: /hubctl leases adopt/ };
  for (const name of ['anna', 'new']) await t.rejects(lost.uidOf(name), refusal, name);
  writeFileSync(file, '{"version":1,"leases":[]}');
  await t.rejects(open(file, { findHomes }).uidOf('new'), refusal, 'one that names nobody is as good as none');

  const backup = join(t.testdir(), 'backup.json');
  await open(backup).uidOf('anna');
  await open(backup).uidOf('bob');
  writeFileSync(file, readFileSync(backup));
  t.equal(await lost.uidOf('bob'), 70_001, 'put back, without a restart');
});

t.test('empty directories that root made for future users are no reason to refuse anybody', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const findHomes = async () => [{ ...home('anna', 0), isUsed: false }];
  t.equal(await open(file, { findHomes }).uidOf('anna'), 70_000);
});

t.test('a home that was there before its user is given to nobody by itself', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const store = open(file, { findHomes: async () => [home('bob')] });
  await store.adopt(parseKey('cleo'), parseIdentity('pam:cleo'), range, async () => undefined);
  await t.rejects(store.uidOf('bob'), { code: 'MH_ERR_SPAWN_HOME_UNLEASED', hint: /hubctl leases adopt bob/ });
  t.equal(await store.uidOf('dora'), 70_001, 'others go on');
});

t.test('an adopted home has the uid that was found for it, or a new one that owns no home', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const store = open(file, { findHomes: async () => [home('anna', 70_000), home('bob'), home('eve', 70_001)] });
  const adopt = (name: string, uid?: number) =>
    store.adopt(parseKey(name), parseIdentity(`pam:${name}`), range, async () => uid);
  t.equal((await adopt('bob')).uid, 70_002, 'those of the others are passed over');
  t.equal((await adopt('anna', 70_000)).uid, 70_000);
  t.equal((await adopt('anna', 70_005)).uid, 70_000, 'a second time changes nothing');
  await t.rejects(
    store.adopt(parseKey('anna'), parseIdentity('oidc:anna'), range, async () => undefined),
    {
      code: 'MH_ERR_SPAWN_IDENTITY',
    },
  );
});

t.test('a released key can be leased to another login, and never with the same uid', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const store = open(file);
  t.same(await Promise.all(['anna', 'bob'].map(store.uidOf)), [70_000, 70_001]);
  t.equal((await store.release(parseKey('bob'), async () => undefined)).uid, 70_001);
  const other = await open(file).lease(parseKey('bob'), parseIdentity('oidc:bob'), range);
  t.equal(other.uid, 70_002, 'also after a restart');
  await open(file).release(parseKey('bob'), async () => undefined);
  for (let index = 0; index < 7; index++) await open(file).uidOf(`k${index}`);
  await t.rejects(open(file).uidOf('late'), { code: 'MH_ERR_SPAWN_RANGE_FULL' }, 'not even when nothing else is left');
  await t.rejects(
    store.release(parseKey('nobody'), async () => undefined),
    { code: 'MH_ERR_SPAWN_NO_LEASE' },
  );
});

t.test('a release that is objected to, or cannot be stored, leaves the lease', async (t) => {
  const directory = t.testdir({ sub: {} });
  const file = join(directory, 'sub', 'leases.json');
  const store = open(file);
  await store.uidOf('anna');
  const object = async (): Promise<void> => {
    throw new Error('no');
  };
  await t.rejects(store.release(parseKey('anna'), object), { message: 'no' });
  t.equal(await store.uidOf('anna'), 70_000);
  const elsewhere = join(directory, 'away');
  renameSync(join(directory, 'sub'), elsewhere);
  await t.rejects(
    store.release(parseKey('anna'), async () => undefined),
    { code: 'MH_ERR_SPAWN_LEASES' },
  );
  t.equal(await store.uidOf('anna'), 70_000);
});
