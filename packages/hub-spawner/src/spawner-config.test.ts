import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { getProfile, readSpawnerConfig, type SpawnerConfig } from './spawner-config.js';

const good: SpawnerConfig = {
  accounts: { uid_min: 70_000, uid_max: 99_999 },
  server: { start_timeout_sec: 60, stop_timeout_sec: 20 },
  profile: [
    {
      name: 'default',
      python: '/usr/bin/python3',
      default_url: '/lab',
      memory_max_bytes: 4 * 2 ** 30,
      memory_high_bytes: null,
      cpu_quota_percent: 0,
      tasks_max: 4096,
    },
  ],
};

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
  ];
  for (const change of bad) {
    writeFileSync(file, JSON.stringify({ ...good, profile: [{ ...profile, ...change }] }));
    t.throws(() => readSpawnerConfig(file), { code: 'MH_ERR_CONFIG_FILE' }, JSON.stringify(change));
  }
  t.throws(() => readSpawnerConfig(`${file}.missing`), { code: 'MH_ERR_CONFIG_FILE' });
});
