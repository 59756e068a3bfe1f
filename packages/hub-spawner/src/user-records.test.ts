import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { type AccountLookups, publishAccount, unpublishAccount } from './user-records.js';

const lease = { key: parseKey('anna'), uid: 70_001 };
const account = {
  name: 'jupyter-anna',
  uid: 70_001,
  gid: 70_001,
  realName: '',
  home: '/var/lib/metalhub/home/anna',
  shell: '/bin/bash',
};
const group = { name: 'jupyter-anna', gid: 70_001, members: [] };

/** A machine that reads the records of a directory, as nss-systemd does, and has some accounts of its own. */
function machineWith(directory: string, own: Partial<Record<keyof AccountLookups, unknown>> = {}): AccountLookups {
  const read = (file: string): Record<string, unknown> | undefined => {
    const path = join(directory, file);
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
  };
  const userOf = (file: string): typeof account | undefined => {
    const record = read(file);
    return (
      record && {
        ...account,
        name: String(record.userName),
        uid: Number(record.uid),
        gid: Number(record.gid),
        home: String(record.homeDirectory),
      }
    );
  };
  const groupOf = (file: string): typeof group | undefined => {
    const record = read(file);
    return record && { name: String(record.groupName), gid: Number(record.gid), members: [] };
  };
  return {
    findAccount: async (name) => (own.findAccount as typeof account) ?? userOf(`${name}.user`),
    findAccountByUid: async (uid) => (own.findAccountByUid as typeof account) ?? userOf(`${uid}.user`),
    findGroup: async (name) => (own.findGroup as typeof group) ?? groupOf(`${name}.group`),
    findGroupByGid: async (gid) => (own.findGroupByGid as typeof group) ?? groupOf(`${gid}.group`),
  };
}

t.test('user and group are found by name and by number afterwards, and publishing again changes nothing', async (t) => {
  const directory = t.testdir();
  await publishAccount(lease, directory, machineWith(directory));
  t.same(readdirSync(directory).sort(), ['70001.group', '70001.user', 'jupyter-anna.group', 'jupyter-anna.user']);
  t.equal(readlinkSync(join(directory, '70001.user')), 'jupyter-anna.user');
  t.equal(lstatSync(join(directory, 'jupyter-anna.user')).mode & 0o777, 0o644);
  t.match(JSON.parse(readFileSync(join(directory, 'jupyter-anna.user'), 'utf8')), {
    userName: 'jupyter-anna',
    uid: 70_001,
    gid: 70_001,
    homeDirectory: '/var/lib/metalhub/home/anna',
    shell: '/bin/bash',
    locked: true,
  });
  const before = lstatSync(join(directory, 'jupyter-anna.user')).ino;
  await publishAccount(lease, directory, machineWith(directory));
  t.equal(lstatSync(join(directory, 'jupyter-anna.user')).ino, before);
});

t.test('what PID 1 says of a running dynamic user is the lease too', async (t) => {
  const directory = t.testdir();
  await publishAccount(lease, directory, machineWith(directory));
  await publishAccount(lease, directory, machineWith(directory, { findAccount: { ...account, home: '/' } }));
});

const strangers = {
  'an account of that name with another number': { findAccount: { ...account, uid: 34 } },
  'an account of that name with another group': { findAccount: { ...account, gid: 0 } },
  'an account of that name and number with another home': { findAccount: { ...account, home: '/root' } },
  'an account with that number': { findAccountByUid: { ...account, name: 'backup' } },
  'a group of that name with another number': { findGroup: { ...group, gid: 0 } },
  'a group with that number': { findGroupByGid: { ...group, name: 'shadow' } },
};

for (const [what, own] of Object.entries(strangers)) {
  t.test(`${what} is refused before anything is written`, async (t) => {
    const directory = t.testdir();
    await t.rejects(publishAccount(lease, directory, machineWith(directory, own)), { code: 'MH_ERR_SPAWN_ACCOUNT' });
    t.same(readdirSync(directory), []);
  });
}

t.test('a machine that does not read the records is an error that says so', async (t) => {
  const directory = t.testdir();
  const blind = machineWith(join(directory, 'elsewhere'));
  await t.rejects(publishAccount(lease, directory, blind), { code: 'MH_ERR_SPAWN_ACCOUNT', hint: /libnss-systemd/ });
});

t.test('publishing the same account several times at once is fine', async (t) => {
  const directory = t.testdir();
  await Promise.all(Array.from({ length: 5 }, () => publishAccount(lease, directory, machineWith(directory))));
  t.equal(readdirSync(directory).length, 4);
});

t.test('what an interrupted publishing left is completed', async (t) => {
  const directory = t.testdir();
  await publishAccount(lease, directory, machineWith(directory));
  unlinkSync(join(directory, '70001.user'));
  await publishAccount(lease, directory, machineWith(directory));
  t.equal(readlinkSync(join(directory, '70001.user')), 'jupyter-anna.user');
});

t.test('a taking-back that was cut short is completed by the next', async (t) => {
  const directory = t.testdir();
  await publishAccount(lease, directory, machineWith(directory));
  const group = join(directory, 'jupyter-anna.group');
  unlinkSync(group);
  // Cannot be unlinked.
  mkdirSync(group);
  await t.rejects(unpublishAccount(lease, directory));
  rmdirSync(group);
  writeFileSync(group, '');
  await unpublishAccount(lease, directory);
  t.same(readdirSync(directory), []);
});

t.test('what was published can be taken back, and what others put there stays', async (t) => {
  const directory = t.testdir();
  await publishAccount(lease, directory, machineWith(directory));
  await publishAccount({ key: parseKey('bob'), uid: 70_002 }, directory, machineWith(directory));
  await unpublishAccount(lease, directory);
  const bobs = ['70002.group', '70002.user', 'jupyter-bob.group', 'jupyter-bob.user'];
  t.same(readdirSync(directory).sort(), bobs);
  await unpublishAccount(lease, directory);
  await unpublishAccount({ key: parseKey('bob'), uid: 70_009 }, directory);
  t.same(readdirSync(directory).sort(), bobs, 'the record of another number');
  await publishAccount({ key: lease.key, uid: 70_003 }, directory, machineWith(directory));
});
