import { type Identity, type Key, parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { addLease, NO_LEASES, releaseLease } from '../lease-table.js';
import { createLeaseLister, leaseRows } from './list-leases.js';

const since = '2026-01-01T00:00:00.000Z';
const lease = (key: string, uid: number) => ({ key: key as Key, uid, identity: `pam:${key}` as Identity, since });
const home = (key: string, isUsed = true) => ({ key: parseKey(key), uid: 65_534, isDirectory: true, isUsed });

t.test('lists leases by uid, what became of them, and homes that no lease names', async (t) => {
  let table = [lease('zoe', 70_000), lease('bob', 70_001), lease('anna', 70_002)].reduce(addLease, NO_LEASES);
  table = addLease(releaseLease(table, lease('bob', 70_001), since), lease('bob', 70_003));
  const homes = [home('bob'), home('zoe'), home('stray'), home('future', false)];
  const rows = leaseRows({ table, homes }, new Set([parseKey('bob')]));
  t.same(
    rows.map(({ key, uid, state, home, running }) => [key, uid, state, home, running]),
    [
      ['zoe', 70_000, 'leased', true, false],
      ['bob', 70_001, 'released', false, false],
      ['anna', 70_002, 'leased', false, false],
      ['bob', 70_003, 'leased', true, true],
      ['stray', null, 'unleased', true, false],
    ],
  );
});

t.test('a list of several pages looks at the homes once, and one that begins anew looks again', async (t) => {
  const homes = Array.from({ length: 250 }, (_, index) => home(`k${String(index).padStart(3, '0')}`));
  let looks = 0;
  const survey = async () => {
    looks++;
    return { table: NO_LEASES, homes };
  };
  const list = createLeaseLister({ leases: { survey }, watch: { list: () => [] } });
  const pages = [];
  for (let offset: number | null = 0; offset !== null; offset = pages.at(-1)?.next ?? null) {
    pages.push(await list({ offset }));
  }
  t.same(
    pages.flatMap((page) => page.leases.map(({ key }) => key)),
    homes.map(({ key }) => key),
  );
  t.ok(pages.every(({ lost }) => lost));
  t.equal(looks, 1);
  homes.pop();
  t.equal((await list({ offset: 200 })).leases.length, 49, 'nothing is kept after the last page');
  await list({ offset: 0 });
  await list({ offset: 0 });
  t.equal(looks, 4);
});
