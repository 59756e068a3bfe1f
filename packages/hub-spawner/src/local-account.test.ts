import { parseIdentity } from '@metalhub/base/names.js';
import { PRIVILEGED_GROUPS } from '@metalhub/config/account-modes.js';
import { parseShells } from '@metalhub/config/shells.js';
import type { Account } from '@metalhub/systemd/accounts.js';
import t from 'tap';
import { findLocalAccount, type LocalLookups } from './local-account.js';
import type { SpawnerConfig } from './spawner-config.js';

const anna: Account = { name: 'anna', uid: 1001, gid: 100, realName: '', home: '/home/anna', shell: '/bin/bash' };
const none = { users: [], groups: [] };
const rules: SpawnerConfig['local'] = {
  login: { allow: { users: [], groups: ['metalhub-users'] }, deny: none },
  privileged_groups: [],
};

/** A machine that knows one account, under whatever name it is asked for. */
function machine(account: Account | undefined, groups: readonly string[] = ['users', 'metalhub-users']): LocalLookups {
  return {
    findAccount: async () => account,
    findAccountByUid: async (uid) => (account?.uid === uid ? account : undefined),
    accountGroupNames: async () => [...groups],
    readShells: () => parseShells('/bin/bash\n/bin/sh\n'),
  };
}

function find(identity: string, lookups: LocalLookups, changes: Partial<SpawnerConfig['local']> = {}) {
  return findLocalAccount(parseIdentity(identity), { ...rules, ...changes }, lookups);
}

t.test(
  'a login with the machine\u2019s password has the account of the same name, with what the machine says of it',
  async (t) => {
    t.same(await find('pam:anna', machine(anna)), {
      ...{ name: 'anna', uid: 1001, gid: 100, home: '/home/anna', shell: '/bin/bash', isLocal: true },
    });
    t.match(await find('pam:anna', machine({ ...anna, shell: '' })), { shell: '/bin/sh' });
  },
);

t.test('S02: no login but PAM\u2019s has an account of the machine, whatever its name', async (t) => {
  for (const identity of ['oidc:anna', 'lti:anna', 'oidc:pam:anna', 'pamx:anna']) {
    await t.rejects(find(identity, machine(anna)), { code: 'MH_ERR_SPAWN_LOCAL_LOGIN' }, identity);
  }
});

t.test('S02: names that mean something else to systemd never reach it', async (t) => {
  const names = [
    '0',
    '1001',
    '-x',
    '.',
    '..',
    'a/b',
    'a:b',
    'a b',
    'a%n',
    '+root',
    '\u00e9',
    'EX\\anna',
    '',
    `a${'b'.repeat(300)}`,
  ];
  for (const name of names.filter((one) => one !== '')) {
    const lookups = machine({ ...anna, name });
    await t.rejects(find(`pam:${name}`, lookups), { code: 'MH_ERR_SPAWN_LOCAL', details: { account: '' } }, name);
  }
  for (const name of ['anna.smith', 'anna@example.org', '1anna', '_x', 'a-b']) {
    t.match(await find(`pam:${name}`, machine({ ...anna, name })), { name });
  }
});

t.test(
  'S02: system accounts, other spellings and accounts without a shell are refused, whatever the hub says',
  async (t) => {
    const changes: Partial<Account>[] = [
      { uid: 0 },
      { uid: 999 },
      { uid: 65_534 },
      { shell: '/usr/sbin/nologin' },
      { shell: '/opt/sh' },
      { name: 'Anna' },
    ];
    for (const change of changes) {
      await t.rejects(
        find('pam:anna', machine({ ...anna, ...change })),
        { code: 'MH_ERR_SPAWN_LOCAL', details: { account: 'anna' } },
        JSON.stringify(change),
      );
    }
    await t.rejects(find('pam:anna', machine(undefined)), { code: 'MH_ERR_SPAWN_LOCAL', message: /no such account/ });
  },
);

t.test('who may not log in has no server either', async (t) => {
  const refused = { code: 'MH_ERR_SPAWN_LOCAL' };
  await t.rejects(find('pam:anna', machine(anna, ['users'])), refused);
  await t.rejects(find('pam:anna', machine(anna), { login: null }), refused);
  await t.rejects(find('pam:anna', machine(anna), { login: { allow: none, deny: none } }), refused);
  const deny = { users: ['anna'], groups: [] };
  await t.rejects(find('pam:anna', machine(anna), { login: { allow: { ...none, users: ['anna'] }, deny } }), refused);
});

t.test('S02: members of groups with power over the machine are refused, unless root names the group', async (t) => {
  for (const group of PRIVILEGED_GROUPS) {
    const lookups = machine(anna, ['metalhub-users', group]);
    await t.rejects(find('pam:anna', lookups), { code: 'MH_ERR_SPAWN_LOCAL', message: new RegExp(`group ${group},`) });
    t.match(await find('pam:anna', lookups, { privileged_groups: [group] }), { name: 'anna' });
    await t.rejects(find('pam:anna', lookups, { privileged_groups: [group === 'sudo' ? 'adm' : 'sudo'] }));
  }
});

t.test('an account that shares its number, or whose home is no home, is refused', async (t) => {
  const shared = { ...machine(anna), findAccountByUid: async () => ({ ...anna, name: 'bob' }) };
  await t.rejects(find('pam:anna', shared), { code: 'MH_ERR_SPAWN_LOCAL', message: /that of bob/ });
  await t.rejects(find('pam:anna', machine({ ...anna, home: '/etc/anna' })), { code: 'MH_ERR_SPAWN_HOME' });
  await t.rejects(find('pam:anna', machine({ ...anna, home: '/' })), { code: 'MH_ERR_SPAWN_HOME' });
});

t.test('while the machine\u2019s databases do not answer, nothing is known', async (t) => {
  const down = { ...machine(anna), findAccount: async () => Promise.reject(new Error('no answer')) };
  await t.rejects(find('pam:anna', down), { message: 'no answer' });
});
