import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import { systemClock } from '@metalhub/base/time.js';
import { startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import t from 'tap';
import { createKeyCounter } from '../key-counter.js';
import { createLeaseStore } from '../leases.js';
import { type AccountLookups, publishAccount } from '../user-records.js';
import { answerReleaseLease } from './release-lease.js';

const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};
const range = { min: 70_000, max: 70_009 };
const bob = parseKey('bob');

t.test('a release that cannot take the account back leaves the lease, and can be repeated', async (t) => {
  const directory = t.testdir({ records: {} });
  const records = join(directory, 'records');
  const bus = join(mkdtempSync(join(tmpdir(), 'release-')), 'bus');
  const fake = await startFakeSystemd(bus);
  fake.answer('ListUnitsByPatterns', () => ({ signature: 'a(ssssssouso)', body: [[]] }));
  const manager = await connectManager({ socketPath: bus });
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  const leases = createLeaseStore({
    file: join(directory, 'leases.json'),
    clock: systemClock,
    log,
    readTakenUids: async () => async () => false,
    findHomes: async () => [],
  });
  const { uid } = await leases.lease(bob, parseIdentity('pam:bob'), range);
  await publishAccount({ key: bob, uid }, records, seenAs(uid));
  const context = { leases, manager, keysInUse: createKeyCounter(), log };
  const release = () => answerReleaseLease(context, { key: bob, home_is_gone: true }, 'uid=0 pid=1', records);

  const group = join(records, 'jupyter-bob.group');
  unlinkSync(group);
  mkdirSync(group);
  await t.rejects(release(), 'the record of the group cannot be unlinked');
  t.same((await leases.survey()).table.released, []);
  t.same(readdirSync(records), ['jupyter-bob.group', 'jupyter-bob.user']);

  rmdirSync(group);
  t.match(await release(), { key: 'bob', uid });
  t.same(readdirSync(records), []);
  await t.rejects(release(), { code: 'MH_ERR_SPAWN_NO_LEASE' });
});

/** A machine on which everybody knows the account. */
function seenAs(uid: number): AccountLookups {
  const account = { name: 'jupyter-bob', uid, gid: uid, realName: '', home: '/', shell: '' };
  const group = { name: 'jupyter-bob', gid: uid, members: [] };
  return {
    findAccount: async () => account,
    findAccountByUid: async () => account,
    findGroup: async () => group,
    findGroupByGid: async () => group,
  };
}
