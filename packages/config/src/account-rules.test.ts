import t from 'tap';
import { type Candidate, findRefusal } from './account-rules.js';
import type { LoginConfig } from './schema.js';
import { parseShells } from './shells.js';

const shells = parseShells('# comment\n/bin/sh\n/bin/bash\n/usr/sbin/nologin\n');
const account = { name: 'anna', uid: 1000, gid: 1000, realName: '', home: '/home/anna', shell: '/bin/bash' };
const anna: Candidate = { name: 'anna', account, groups: ['anna', 'metalhub-users'], shells };

function loginOf(lists: { allow?: Partial<LoginConfig['allow']>; deny?: Partial<LoginConfig['deny']> }): LoginConfig {
  const none = { users: [], groups: [] };
  return { method: 'pam', title: '', allow: { ...none, ...lists.allow }, deny: { ...none, ...lists.deny } };
}
const shipped = loginOf({ allow: { groups: ['metalhub-users'] } });

t.test('a member of an allowed group may log in', async (t) => {
  t.equal(findRefusal(anna, shipped), undefined);
});

t.test('a user allowed by name may log in without the group', async (t) => {
  t.equal(findRefusal({ ...anna, groups: ['anna'] }, loginOf({ allow: { users: ['anna'] } })), undefined);
});

t.test('nobody may while nothing is allowed', async (t) => {
  t.equal(findRefusal(anna, loginOf({})), 'login.allow is empty');
  t.match(findRefusal(anna, undefined), /no \[\[login\]\]/);
});

t.test('whoever is in no list may not', async (t) => {
  t.equal(findRefusal({ ...anna, groups: ['anna'] }, shipped), 'not listed in login.allow');
});

t.test('deny beats allow, by name and by group', async (t) => {
  const allow = { users: ['anna'] };
  t.equal(findRefusal(anna, loginOf({ allow, deny: { users: ['anna'] } })), 'listed in login.deny');
  t.equal(findRefusal(anna, loginOf({ allow, deny: { groups: ['metalhub-users'] } })), 'listed in login.deny');
});

t.test('M02: no list lets in root, an account of the system, or one without a shell', async (t) => {
  const all = loginOf({ allow: { users: ['anna', 'root', 'toor'], groups: ['metalhub-users'] } });
  const refusals: [Partial<typeof account>, RegExp][] = [
    [{ name: 'root', uid: 0 }, /root/],
    [{ name: 'toor', uid: 0 }, /root/],
    [{ uid: 1 }, /system/],
    [{ uid: 999 }, /system/],
    [{ uid: 65_534 }, /system/],
    [{ shell: '/usr/sbin/nologin' }, /shell/],
    [{ shell: '/bin/false' }, /shell/],
    [{ shell: '/opt/own-shell' }, /shell/],
  ];
  for (const [change, reason] of refusals) {
    const changed = { ...account, ...change };
    t.match(findRefusal({ ...anna, name: changed.name, account: changed }, all), reason, JSON.stringify(change));
  }
});

t.test('an empty shell is /bin/sh, as passwd(5) has it', async (t) => {
  t.equal(findRefusal({ ...anna, account: { ...account, shell: '' } }, shipped), undefined);
});

t.test('an account that only PAM knows, or knows by another spelling, may not log in', async (t) => {
  t.match(findRefusal({ ...anna, account: undefined }, shipped), /no such account/);
  t.match(findRefusal({ ...anna, name: 'Anna' }, shipped), /spells/);
});

t.test('shells(5) may have comments and may be missing', async (t) => {
  t.same([...parseShells('/bin/sh # old\n\n# /bin/csh\nzsh\n')], ['/bin/sh']);
  t.ok(parseShells(undefined).has('/bin/sh'));
});
