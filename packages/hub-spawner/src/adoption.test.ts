import { type Key, parseIdentity, parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { chooseUid, findRecordUid, requireOwnUid, type UidEvidence } from './adoption.js';
import { addLease, NO_LEASES, releaseLease } from './lease-table.js';
import type { AccountLookups } from './user-records.js';

const anna = parseKey('anna');
const bobs = {
  key: parseKey('bob'),
  uid: 70_001,
  identity: parseIdentity('pam:bob'),
  since: '2026-01-01T00:00:00.000Z',
};

function choose(evidence: Partial<Omit<UidEvidence, 'home'>> & { owner?: number }, table = NO_LEASES) {
  const { owner = 65_534, given = null, record } = evidence;
  return chooseUid(anna, { given, record, home: { key: anna, uid: owner, isDirectory: true, isUsed: true } }, table, {
    min: 70_000,
    max: 99_999,
  });
}

t.test('the uid of a home is what the machine still knows, then its owner on the disk, then any', async (t) => {
  t.same(choose({ record: 70_005, owner: 65_534 }), { uid: 70_005, source: 'record' });
  t.same(choose({ owner: 70_004 }), { uid: 70_004, source: 'owner' });
  t.same(choose({ record: 70_004, owner: 70_004 }), { uid: 70_004, source: 'record' });
  for (const owner of [65_534, 0]) t.same(choose({ owner }), { uid: undefined, source: 'new' });
  t.same(choose({ given: 70_009 }), { uid: 70_009, source: 'given' });
});

t.test('evidence that disagrees decides nothing', async (t) => {
  const code = 'MH_ERR_SPAWN_ADOPT';
  t.throws(() => choose({ record: 70_005, owner: 70_004 }), { code, details: { reason: /uid 70004.*uid 70005/ } });
  t.throws(() => choose({ given: 70_009, owner: 70_004 }), {
    code,
    details: { reason: 'its uid is 70004, not 70009' },
  });
  t.throws(() => choose({ given: 70_009, record: 70_004 }), { code });
  for (const given of [1500, 65_000, 69_999, 100_000]) {
    t.throws(() => choose({ given }), { code, details: { reason: /outside of the range 70000-99999/ } });
  }
  t.same(choose({ given: 60_500, owner: 60_500 }), { uid: 60_500, source: 'given' }, 'of a range of before');
  t.throws(() => choose({ owner: 34 }), { code, details: { reason: /system account/ } });
});

t.test('a uid that was ever leased to somebody else is not adopted', async (t) => {
  const table = addLease(NO_LEASES, bobs);
  for (const known of [table, releaseLease(table, bobs, '2026-02-01T00:00:00.000Z')]) {
    t.throws(() => choose({ owner: 70_001 }, known), { code: 'MH_ERR_SPAWN_ADOPT' });
    t.throws(() => choose({ given: 70_001 }, known), { code: 'MH_ERR_SPAWN_ADOPT' });
  }
});

t.test('accounts of others that have the name or the number are respected', async (t) => {
  const account = (name: string, uid: number, home: string) => ({ name, uid, gid: uid, home, realName: '', shell: '' });
  const accounts = [
    account('jupyter-anna', 70_005, '/var/lib/metalhub/home/anna'),
    account('jupyter-dora', 70_006, '/'),
    account('jupyter-eve', 1001, '/home/eve'),
    account('jupyter-finn', 62_000, '/'),
  ];
  const lookups: AccountLookups = {
    findAccount: async (name) => accounts.find((entry) => entry.name === name),
    findAccountByUid: async (uid) => accounts.find((entry) => entry.uid === uid),
    findGroup: async () => undefined,
    findGroupByGid: async (gid) => (gid === 70_008 ? { name: 'staff', gid, members: [] } : undefined),
  };
  t.equal(await findRecordUid(anna, lookups), 70_005);
  t.equal(await findRecordUid('dora' as Key, lookups), 70_006, 'as PID 1 tells it while a unit runs');
  t.equal(await findRecordUid('bob' as Key, lookups), undefined);
  await t.rejects(findRecordUid('eve' as Key, lookups), { code: 'MH_ERR_SPAWN_ADOPT' });
  await t.rejects(findRecordUid('finn' as Key, lookups), { code: 'MH_ERR_SPAWN_ADOPT' }, 'of a unit of somebody else');
  await requireOwnUid(anna, 70_005, [], lookups);
  await requireOwnUid(anna, 70_007, [], lookups);
  for (const uid of [70_006, 70_008]) {
    await t.rejects(requireOwnUid(anna, uid, [], lookups), {
      code: 'MH_ERR_SPAWN_ADOPT',
      details: { reason: /belongs to/ },
    });
  }
});

t.test('a uid that another home belongs to is not adopted', async (t) => {
  const nobody: AccountLookups = {
    findAccount: async () => undefined,
    findAccountByUid: async () => undefined,
    findGroup: async () => undefined,
    findGroupByGid: async () => undefined,
  };
  const home = (key: Key, uid: number) => ({ key, uid, isDirectory: true, isUsed: true });
  const homes = [home(anna, 70_005), home(bobs.key, 70_001)];
  await requireOwnUid(anna, 70_005, homes, nobody);
  await t.rejects(requireOwnUid(anna, 70_001, homes, nobody), {
    code: 'MH_ERR_SPAWN_ADOPT',
    details: { reason: /home\/bob belongs to uid 70001 as well/ },
  });
});
