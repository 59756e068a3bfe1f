import { type Identity, isKey, type Key } from '@metalhub/base/names.js';
import t from 'tap';
import { isForeignAccount, keyCandidates } from './key.js';

function firstKeys(identity: string, count = 2): string[] {
  const keys: string[] = [];
  for (const key of keyCandidates(identity as Identity)) {
    keys.push(key);
    if (keys.length === count) break;
  }
  return keys;
}

t.test('a plain name is its own key', async (t) => {
  t.equal(firstKeys('pam:anna')[0], 'anna');
  t.equal(firstKeys('pam:Anna.K')[0], 'anna_k');
  t.equal(firstKeys('pam:anna-b@example')[0], 'anna_b_example');
});

t.test('names that do not fit get a hash', async (t) => {
  for (const name of ['7anna', '_anna', 'ä', 'a'.repeat(24), 'müller '.repeat(30), '日本語']) {
    t.match(firstKeys(`pam:${name}`)[0], /^u[a-z2-7]{22}$/, name);
  }
});

t.test('S02: reserved words are never keys', async (t) => {
  for (const name of [
    'root',
    'ROOT',
    'metalhub',
    'metalhub_proxy',
    'metalhub-logs',
    'hub',
    'lab',
    'notebook',
    'nobody',
  ]) {
    t.match(firstKeys(`pam:${name}`)[0], /^u[a-z2-7]{22}$/, name);
  }
});

t.test('candidates are all different, valid, and the same each time', async (t) => {
  for (const identity of ['pam:anna', 'pam:ä', 'oidc:anna', `pam:${'x'.repeat(256)}`]) {
    const keys = firstKeys(identity, 20);
    t.equal(new Set(keys).size, 20);
    t.ok(keys.every(isKey));
    t.same(firstKeys(identity, 20), keys);
  }
});

t.test('two login methods get different hashes for one name', async (t) => {
  t.not(firstKeys('pam:ä')[0], firstKeys('oidc:ä')[0]);
  t.not(firstKeys('pam:anna')[1], firstKeys('oidc:anna')[1]);
});

const anna = 'anna' as Key;
const user = { uid: 70_000, gid: 70_000 };

t.test('an account is ours when its home is', async (t) => {
  t.notOk(isForeignAccount(undefined, anna));
  t.notOk(isForeignAccount({ ...user, home: '/var/lib/metalhub/home/anna' }, anna));
  t.ok(isForeignAccount({ ...user, home: '/var/lib/metalhub/home/bert' }, anna));
  t.ok(isForeignAccount({ ...user, home: '/home/jupyter-anna' }, anna));
});

t.test('an account that was made for the key is ours, known by its home and a uid for users', async (t) => {
  const range = { uid_min: 70_000, uid_max: 70_009 };
  const home = '/home/jupyter-anna';
  t.notOk(isForeignAccount({ ...user, home }, anna, range));
  t.ok(isForeignAccount({ uid: 1001, gid: 1001, home }, anna, range), 'as another hub makes them');
  t.ok(isForeignAccount({ uid: 70_000, gid: 100, home }, anna, range));
  t.ok(isForeignAccount({ ...user, home: '/home/jupyter-bert' }, anna, range));
});

t.test('an account is ours while its server runs, and systemd says that its home is /', async (t) => {
  t.notOk(isForeignAccount({ ...user, home: '/' }, anna));
  // useradd --system, a unit of the administrator's with DynamicUser=, and an account beside its group.
  for (const [uid, gid] of [
    [994, 994],
    [61_184, 61_184],
    [65_519, 65_519],
    [70_000, 100],
  ] as const) {
    t.ok(isForeignAccount({ uid, gid, home: '/' }, anna), `${uid}:${gid}`);
  }
});
