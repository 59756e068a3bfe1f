import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { getProfile, hasLocalProfile, type ProfileVariant, readSpawnerConfig } from './spawner-config.js';
import { extractOf } from './testing/profile.js';

const good = extractOf('[[profile]]\nname = "default"\n');

t.test('a checked extract is read, and its profiles are found by name only', async (t) => {
  const file = join(t.testdir({ 'config.json': JSON.stringify(good) }), 'config.json');
  const config = readSpawnerConfig(file);
  t.same(config, good);
  t.equal(getProfile(config, 'default').python, '/usr/bin/python3');
  t.throws(() => getProfile(config, 'other'), { code: 'MH_ERR_SPAWN_PROFILE' });
  t.throws(() => getProfile(config, '__proto__'), { code: 'MH_ERR_SPAWN_PROFILE' });
});

t.test('S03: limits beyond the ceilings, paths with substitutions and unknown keys are refused', async (t) => {
  const file = join(t.testdir(), 'config.json');
  const [profile] = good.profile;
  const bad = [
    { memory_max_bytes: -1 },
    { memory_max_bytes: 1e30 },
    { memory_max_bytes: 'infinity' },
    { cpu_quota_percent: 1_000_000 },
    { tasks_max: 0 },
    { python: 'python3' },
    { python: '/opt/%h/python' },
    { python: '/opt/$HOME/python' },
    { python: '/opt/a b/python' },
    { python: '/opt/a\npython' },
    { ExecStartPre: '/bin/sh' },
    { account_mode: 'root' },
    { home: '/etc' },
    { properties: { ExecStartPre: 1 } },
    { properties: { Nice: -21 } },
    { devices: ['/etc/shadow'] },
    { relax: ['root'] },
    { ip_allow: ['example.org'] },
    { variables: { 'A=B': '' } },
    { variables: { A: 'x\ny' } },
    { mounts: [{ source: '/a', target: 'b', write: true }] },
  ];
  for (const change of bad) {
    writeFileSync(
      file,
      JSON.stringify({ ...good, profile: [{ ...profile, settings: { ...profile?.settings, ...change } }] }),
    );
    t.throws(() => readSpawnerConfig(file), { code: 'MH_ERR_CONFIG_FILE' }, JSON.stringify(change));
  }
  t.throws(() => readSpawnerConfig(`${file}.missing`), { code: 'MH_ERR_CONFIG_FILE' });
});

t.test('overrides and choices lie over the profile, in this order', async (t) => {
  const config = extractOf(`
    [[profile]]
    name = "default"
    memory_max = "1G"
    tasks_max = 100
    mounts = [{ source = "/srv/a" }]
    [[profile.override]]
    name = "staff"
    groups = ["staff"]
    memory_max = "2G"
    tasks_max = 200
    [[profile.choice]]
    name = "size"
    title = "Size"
    [[profile.choice.option]]
    name = "large"
    title = "Large"
    memory_max = "8G"
    [[profile.choice]]
    name = "environment"
    title = "Environment"
    [[profile.choice.option]]
    name = "torch"
    title = "PyTorch"
    environment = "/opt/torch/"
    mounts = [{ source = "/srv/b", write = true }]
  `);
  t.match(getProfile(config, 'default'), { name: 'default', memory_max_bytes: 2 ** 30, tasks_max: 100 });
  t.match(getProfile(config, 'default', { override: 'staff' }), { memory_max_bytes: 2 ** 31, tasks_max: 200 });
  const choices = { environment: 'torch', size: 'large' };
  t.match(getProfile(config, 'default', { override: 'staff', choices }), {
    memory_max_bytes: 2 ** 33,
    tasks_max: 200,
    python: '/opt/torch/bin/python',
    mounts: [
      { source: '/srv/a', target: '/srv/a', write: false },
      { source: '/srv/b', write: true },
    ],
  });
});

t.test('a root that a later layer names takes the place of an earlier one, of whichever kind', async (t) => {
  const config = extractOf(`
    [[profile]]
    name = "directory"
    root_directory = "/srv/root"
    [[profile.override]]
    name = "staff"
    groups = ["staff"]
    root_image = "/srv/root.img"
    [[profile.choice]]
    name = "root"
    title = "Root"
    [[profile.choice.option]]
    name = "next"
    title = "Next"
    root_directory = "/srv/next"
    [[profile.choice.option]]
    name = "none"
    title = "None"
    root_directory = ""
    root_image = ""
    [[profile.choice.option]]
    name = "same"
    title = "Same"
  `);
  const rootOf = (variant: ProfileVariant) => {
    const { root_directory, root_image } = getProfile(config, 'directory', variant);
    return [root_directory, root_image];
  };
  t.same(rootOf({}), ['/srv/root', '']);
  t.same(rootOf({ override: 'staff', choices: { root: 'same' } }), ['', '/srv/root.img']);
  t.same(rootOf({ override: 'staff', choices: { root: 'next' } }), ['/srv/next', '']);
  t.same(rootOf({ override: 'staff', choices: { root: 'none' } }), ['', '']);
});

t.test('each profile says as whom it runs, or accounts.mode does', async (t) => {
  const login = '[[login]]\nmethod = "pam"\nallow = { groups = ["users"] }\n';
  const config = extractOf(`${login}
    [accounts]
    mode = "local"
    privileged_groups = ["adm"]
    [[profile]]
    name = "default"
    [[profile.override]]
    name = "guests"
    groups = ["guests"]
    account_mode = "dynamic"
    [[profile]]
    name = "sandbox"
    account_mode = "dynamic"
  `);
  t.equal(getProfile(config, 'default').account_mode, 'local');
  t.equal(getProfile(config, 'default', { override: 'guests' }).account_mode, 'dynamic');
  t.equal(getProfile(config, 'sandbox').account_mode, 'dynamic');
  const allow = { users: [], groups: ['users'] };
  t.same(config.local, { login: { allow, deny: { users: [], groups: [] } }, privileged_groups: ['adm'] });
  t.equal(good.local.login, null, 'without a [[login]] nobody has one');
  t.equal(hasLocalProfile(config), true);
  t.equal(hasLocalProfile(good), false);
});

t.test('S03: a variant that root has not named is refused', async (t) => {
  const config = extractOf('[[profile]]\nname = "default"\n[[profile.override]]\nname = "staff"\n');
  for (const variant of [
    { override: 'root' },
    { override: '__proto__' },
    { choices: { size: 'large' } },
    { choices: { toString: 'large' } },
  ]) {
    t.throws(() => getProfile(config, 'default', variant), { code: 'MH_ERR_SPAWN_CHOICE' }, JSON.stringify(variant));
  }
});
