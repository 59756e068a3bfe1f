import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseIdentity, parseKey } from '@metalhub/base/names.js';
import { parseShells } from '@metalhub/config/shells.js';
import type { Account, Group } from '@metalhub/systemd/accounts.js';
import t from 'tap';
import { createAccountMaker, runCreateAccount } from './created-account.js';
import type { Lease } from './lease-table.js';

const none = { users: [], groups: [] };
const rules = { login: { allow: none, deny: none }, privileged_groups: [] };
const lease: Lease = { key: parseKey('anna'), uid: 70_001, identity: parseIdentity('oidc:anna'), since: '2026' };
const made: Account = {
  ...{ name: 'jupyter-anna', uid: 70_001, gid: 70_001, realName: '', home: '/home/jupyter-anna', shell: '/bin/bash' },
};

/** A machine on which the account is there, or is once it was made. */
function setUp(
  before: Account | undefined,
  after: Account | undefined = made,
  groups: string[] = ['jupyter-anna'],
  others: { twin?: Account; group?: Group } = {},
) {
  const calls: string[] = [];
  let account = before;
  const maker = createAccountMaker({
    make: async () => {
      calls.push('make');
      account = after;
      await new Promise((resolve) => setTimeout(resolve, 5));
      calls.push('made');
    },
    unpublish: async () => {
      calls.push('unpublish');
    },
    lookups: {
      findAccount: async () => account,
      findAccountByUid: async () => others.twin ?? account,
      findGroup: async (name) => (others.group?.name === name ? others.group : undefined),
      findGroupByGid: async (gid) => (others.group?.gid === gid ? others.group : undefined),
      accountGroupNames: async () => groups,
      readShells: () => parseShells('/bin/bash\n'),
    },
  });
  return { calls, find: (signal = new AbortController().signal) => maker.find(lease, rules, signal) };
}

t.test('an account is made at the first start, once, and used from then on', async (t) => {
  const { calls, find } = setUp(undefined);
  const expected = { name: 'jupyter-anna', uid: 70_001, home: '/home/jupyter-anna', shell: '/bin/bash', isLocal: true };
  for (const account of await Promise.all([find(), find(), find()])) t.match(account, expected);
  t.match(await find(), expected);
  t.same(calls, ['unpublish', 'make', 'made']);
});

t.test('an account that is seen while it is still being made is not used before it is complete', async (t) => {
  const { calls, find } = setUp(undefined);
  const first = find();
  while (!calls.includes('make')) await new Promise((resolve) => setImmediate(resolve));
  t.match(await find(), { name: 'jupyter-anna' });
  t.same(calls, ['unpublish', 'make', 'made']);
  await first;
});

t.test('a start that is stopped does not wait for accounts that are being made', async (t) => {
  const { calls, find } = setUp(undefined);
  const stop = new AbortController();
  const [first, second] = [find(), find(stop.signal)];
  stop.abort(new Error('stopped'));
  const left = second.catch((error: unknown) => error);
  t.match(await Promise.race([first, left]), { message: 'stopped' });
  t.match(await first, { name: 'jupyter-anna' });
  t.same(calls, ['unpublish', 'make', 'made']);
  await t.rejects(setUp(undefined).find(stop.signal), { message: 'stopped' });
});

t.test('the record of a dynamic user makes way for it', async (t) => {
  const { calls, find } = setUp({ ...made, home: '/var/lib/metalhub/home/anna' });
  t.match(await find(), { home: '/home/jupyter-anna' });
  t.same(calls, ['unpublish', 'make', 'made']);
});

t.test('S02: an account that has the name but is not what was made is refused', async (t) => {
  const changes: [Partial<Account>, string][] = [
    [{ uid: 70_002 }, 'MH_ERR_SPAWN_LOCAL'],
    [{ uid: 0 }, 'MH_ERR_SPAWN_LOCAL'],
    [{ name: 'root' }, 'MH_ERR_SPAWN_LOCAL'],
    [{ shell: '/usr/sbin/nologin' }, 'MH_ERR_SPAWN_LOCAL'],
    [{ home: '/etc/anna' }, 'MH_ERR_SPAWN_HOME'],
  ];
  for (const [change, code] of changes) {
    const { calls, find } = setUp({ ...made, ...change });
    await t.rejects(find(), { code }, JSON.stringify(change));
    t.same(calls, []);
  }
  await t.rejects(setUp(made, made, ['jupyter-anna', 'docker']).find(), { message: /group docker/ });
});

t.test('no account is made with the group of somebody else, and none is used whose uid another has', async (t) => {
  for (const group of [
    { name: 'project', gid: 70_001, members: [] },
    { name: 'jupyter-anna', gid: 5000, members: [] },
  ]) {
    const { calls, find } = setUp(undefined, made, undefined, { group });
    await t.rejects(find(), { code: 'MH_ERR_SPAWN_LOCAL', message: new RegExp(`group ${group.name} with gid`) });
    t.same(calls, ['unpublish']);
  }
  const left = setUp(undefined, made, undefined, { group: { name: 'jupyter-anna', gid: 70_001, members: [] } });
  t.match(await left.find(), { gid: 70_001 }, 'its own was left by one that was interrupted');
  const twin = { ...made, name: 'toor' };
  await t.rejects(setUp(made, made, undefined, { twin }).find(), { code: 'MH_ERR_SPAWN_LOCAL', message: /toor/ });
});

t.test('one that is not there after all is an error that names the log', async (t) => {
  const { find } = setUp(undefined, undefined);
  const lost = setUp(undefined, { ...made, home: '/var/lib/metalhub/home/anna' });
  t.match(await find(), { name: 'jupyter-anna' }, 'the default of this test');
  await t.rejects(lost.find(), { code: 'MH_ERR_SPAWN_CREATE', hint: /hub-create-account@anna/ });
});

t.test('systemd is told the uid by a file, which is gone afterwards', async (t) => {
  const directory = join(t.testdir(), 'requests');
  const file = join(directory, 'anna.env');
  let seen = '';
  const job = (result: 'done' | 'failed') => ({
    startUnit: async (unit: string) => {
      seen = `${unit} ${readFileSync(file, 'utf8')}`;
      return { unit, jobPath: '', result, isDeduced: false };
    },
  });
  await runCreateAccount(job('done'), lease, directory);
  t.equal(seen, 'hub-create-account@anna.service METALHUB_UID=70001\n');
  t.notOk(existsSync(file));
  await t.rejects(runCreateAccount(job('failed'), lease, directory), { code: 'MH_ERR_SPAWN_CREATE' });
  t.notOk(existsSync(file));
});
