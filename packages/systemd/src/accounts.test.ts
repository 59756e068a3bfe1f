import { execFileSync } from 'node:child_process';
import t from 'tap';
import { accountGroups, findAccount, findAccountByUid, findGroup, findGroupByGid, findShadow } from './accounts.js';

t.test('accounts are found by name and by uid', async (t) => {
  t.match(await findAccount('root'), { name: 'root', uid: 0, gid: 0, home: '/root' });
  t.same(await findAccountByUid(0), await findAccount('root'));
});

t.test('what is not there is undefined', async (t) => {
  t.equal(await findAccount('metalhub-no-such-account'), undefined);
  t.equal(await findAccount('é☃'), undefined);
  t.equal(await findAccountByUid(4_000_000_001), undefined);
  t.equal(await findGroup('metalhub-no-such-group'), undefined);
  t.equal(await findGroupByGid(4_000_000_001), undefined);
});

t.test('a name with a NUL does not find the account in front of it', async (t) => {
  t.equal(await findAccount('root\0x'), undefined);
  t.equal(await findAccount(''), undefined);
});

t.test('groups come with their members', async (t) => {
  const group = await findGroup('root');
  t.match(group, { name: 'root', gid: 0 });
  t.same(await findGroupByGid(0), group);
  t.type(group?.members, Array);
});

t.test('accountGroups agrees with id(1)', async (t) => {
  const expected = execFileSync('id', ['-G', 'root'], { encoding: 'utf8' }).trim().split(' ').map(Number);
  t.same((await accountGroups('root', 0)).sort(), expected.sort());
});

t.test('many look-ups at once do not mix', async (t) => {
  const all = await Promise.all(Array.from({ length: 200 }, (_, uid) => findAccountByUid(uid)));
  for (const [uid, account] of all.entries()) t.ok(account === undefined || account.uid === uid);
});

t.test('a shadow record tells the state and never the hash', { skip: process.getuid?.() !== 0 }, async (t) => {
  const shadow = await findShadow('root');
  t.match(shadow, { name: 'root', locked: Boolean, hasEmptyPassword: Boolean });
  t.notMatch(JSON.stringify(shadow), /\$/);
  t.equal(await findShadow('metalhub-no-such-account'), undefined);
});
