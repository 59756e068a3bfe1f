import { spawnerProtocol } from '@metalhub/wire/spawner.js';
import { spawnerAdminProtocol } from '@metalhub/wire/spawner-admin.js';
import t from 'tap';

const { params } = spawnerProtocol.requests.StartServer;

const start = {
  key: 'anna',
  server: '',
  identity: 'pam:Ånna "1" %n $HOME $(id)',
  profile: 'default',
  start_id: 'a'.repeat(32),
  token: 'T'.repeat(43),
  base_url: '/user/%C3%85nna/',
};

t.test('a start that says who, which profile and nothing else is accepted', async (t) => {
  t.same(params(start, ''), start);
});

t.test('S02: keys are lower-case words of at most 23 characters, whatever else they would name', async (t) => {
  const bad = [
    ...['0', '65534', '+root', '-x', 'metalhub-proxy', 'systemd-network', '..', '.', 'a/b', 'a.b', 'a@b', 'a%n', 'é'],
    ...['a'.repeat(24), 'anna\n', 'anna\0', '', 'Anna', '_anna', '1anna', 'a b', 'a:b', 'a$b', null, 7, ['anna']],
  ];
  for (const key of bad) t.throws(() => params({ ...start, key }, ''), `key ${JSON.stringify(key)}`);
});

t.test('S02: names of servers are words with hyphens of at most 31 characters', async (t) => {
  for (const server of ['a_b', '-a', 'A', 'a/b', 'a'.repeat(32), 'a\n', '..', 'a:b', 'a%n', 'é', null]) {
    t.throws(() => params({ ...start, server }, ''), `server ${JSON.stringify(server)}`);
  }
});

t.test('S03, S04, S06: no property, environment, path or command can be sent along', async (t) => {
  const extras = ['User', 'ExecStartPre', 'BindPaths', 'Slice', 'Delegate', 'CapabilityBoundingSet', 'RootDirectory'];
  for (const extra of [...extras, 'environment', 'LD_PRELOAD', 'argv', 'memory_max', 'uid', '__proto__x']) {
    t.throws(() => params({ ...start, [extra]: '1' }, ''), extra);
  }
  t.throws(() => params(Object.assign(Object.create(null), start, { constructor: 1 }), ''));
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`k${index}`, 1]));
  t.throws(() => params({ ...start, ...many }, ''));
});

t.test('S03: missing and mistyped values are refused', async (t) => {
  for (const name of Object.keys(start)) {
    t.throws(() => params({ ...start, [name]: undefined }, ''), `without ${name}`);
    for (const value of [null, 1, {}, [], true, '\n', '']) {
      if (name === 'server' && value === '') continue;
      t.throws(() => params({ ...start, [name]: value }, ''), `${name} = ${JSON.stringify(value)}`);
    }
  }
});

t.test('S06: what the launcher is told has a form of its own', async (t) => {
  for (const base_url of ['/', '/user//', '/user/a', 'user/a/', '/user/a/b/c/', '/user/a/?x', '/user/%zz/']) {
    t.throws(() => params({ ...start, base_url }, ''), base_url);
  }
  for (const token of ['x'.repeat(42), 'x'.repeat(44), `${'x'.repeat(42)}"`])
    t.throws(() => params({ ...start, token }, ''));
});

t.test('the table of requests is closed', async (t) => {
  const requests = ['Freeze', 'List', 'SetLimits', 'StartServer', 'Status', 'StopServer', 'Thaw', 'Watch'];
  t.same(Object.keys(spawnerProtocol.requests).sort(), requests);
});

t.test('S03: of a server that runs three limits can be named, in whole numbers, and nothing else', async (t) => {
  const { params: shape } = spawnerProtocol.requests.SetLimits;
  const { key, server, start_id } = start;
  const of = (limits: unknown) => ({ key, server, start_id, limits });
  const good = { memory_max_bytes: 2 ** 33, cpu_quota_percent: 200, tasks_max: 500 };
  t.same(shape(of(good), ''), of(good));
  t.same(shape(of({}), ''), of({}));
  const numbers = [0, -1, 1.5, 1e30, Number.NaN, Number.POSITIVE_INFINITY, 'infinity', '8G', null, true];
  for (const name of Object.keys(good)) {
    for (const value of numbers) t.throws(() => shape(of({ [name]: value }), ''), `${name} = ${value}`);
  }
  t.throws(() => shape(of({ cpu_quota_percent: 1_000_000 }), ''));
  for (const extra of ['User', 'Slice', 'MemoryMax', 'DeviceAllow', 'profile']) {
    t.throws(() => shape(of({ [extra]: 1 }), ''), extra);
    t.throws(() => shape({ ...of({}), [extra]: 1 }, ''), extra);
  }
});

t.test('S02: what is frozen or thawed is a server, by key and name', async (t) => {
  for (const method of ['Freeze', 'Thaw'] as const) {
    const { params: shape } = spawnerProtocol.requests[method];
    t.same(shape({ key: 'anna', server: 'gpu' }, ''), { key: 'anna', server: 'gpu' });
    for (const key of ['', '..', 'a-b', 'Anna', 'metalhub-proxy', null]) {
      t.throws(() => shape({ key, server: '' }, ''), `${method} ${key}`);
    }
    t.throws(() => shape({ key: 'anna', server: '', unit: 'ssh.service' }, ''));
  }
});

t.test('S01: what administrators may ask is another closed table, of which the hub has nothing', async (t) => {
  const requests = Object.keys(spawnerAdminProtocol.requests).sort();
  const commands = ['AttachCommand', 'Exec', 'Shell', 'SignalCommand'];
  t.same(requests, ['AdoptHome', 'FixHome', 'ListLeases', 'ReleaseLease', ...commands].sort());
  for (const name of requests) t.notOk(Object.hasOwn(spawnerProtocol.requests, name), name);
  t.not(spawnerAdminProtocol.path, spawnerProtocol.path);
});

t.test('S02, S03: administrators too send keys, identities and numbers, and nothing else', async (t) => {
  const { AdoptHome, ListLeases, ReleaseLease } = spawnerAdminProtocol.requests;
  const adopt = { key: 'anna', identity: 'pam:anna', uid: null };
  const release = { key: 'anna', home_is_gone: false };
  t.same(AdoptHome.params(adopt, ''), adopt);
  t.same(ReleaseLease.params(release, ''), release);
  for (const key of ['', 'Anna', '..', 'a/b', 'a-b', 'anna\n', 'a'.repeat(24), 7, null]) {
    t.throws(() => AdoptHome.params({ ...adopt, key }, ''), `adopt ${JSON.stringify(key)}`);
    t.throws(() => ReleaseLease.params({ ...release, key }, ''), `release ${JSON.stringify(key)}`);
  }
  for (const uid of [0, 34, 999, -1, 1.5, '70000', 4_294_967_295, undefined]) {
    t.throws(() => AdoptHome.params({ ...adopt, uid }, ''), `uid ${uid}`);
  }
  for (const identity of ['', 'anna', 'pam:', 'pam:a\nb', 'PAM:anna']) {
    t.throws(() => AdoptHome.params({ ...adopt, identity }, ''), identity);
  }
  t.throws(() => AdoptHome.params({ ...adopt, path: '/etc' }, ''));
  t.throws(() => ReleaseLease.params({ ...release, force: true }, ''));
  t.throws(() => ReleaseLease.params({ ...release, home_is_gone: 'yes' }, ''));
  for (const offset of [-1, 0.5, '0', null]) t.throws(() => ListLeases.params({ offset }, ''));
});
