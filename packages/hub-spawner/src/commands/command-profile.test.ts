import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { parseKey, parseServerName } from '@metalhub/base/names.js';
import { startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { Variant } from '@metalhub/systemd/variant.js';
import t, { type Test } from 'tap';
import { createServerWatch } from '../server-watch.js';
import { extractOf, testProfile } from '../testing/profile.js';
import { serverUnits } from '../unit-properties.js';
import { dynamicAccount } from '../user-account.js';
import { chooseProfile } from './command-profile.js';

const KEY = parseKey('anna');
const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};
const CONFIG = `
  [[profile]]
  name = "first"
  [[profile]]
  name = "default"
  memory_max = "4G"
  [[profile.override]]
  name = "guests"
  groups = ["guests"]
  network = "none"
  [[profile.choice]]
  name = "size"
  title = "Size"
  [[profile.choice.option]]
  name = "small"
  title = "Small"
  memory_max = "1G"`;

/** A machine on which a server of anna's runs, with this of its environment. */
async function setUp(t: Test, environment: readonly string[]) {
  const path = join(mkdtempSync(join(tmpdir(), 'metalhub-command-profile-')), 'bus');
  const fake = await startFakeSystemd(path);
  const manager = await connectManager({ socketPath: path });
  const watch = createServerWatch({ manager, log, onFailed: nothing });
  t.teardown(async () => {
    watch.stop();
    manager.close();
    await fake.close();
  });
  const row = ['jupyter-anna.service', '', 'loaded', 'active', 'running', '', '/', 0, '', '/'];
  fake.answer('ListUnitsByPatterns', () => ({ signature: 'a(ssssssouso)', body: [[row]] }));
  const values: Record<string, Variant> = {
    LoadState: new Variant('s', 'loaded'),
    ActiveState: new Variant('s', 'active'),
    Transient: new Variant('b', true),
    DynamicUser: new Variant('b', true),
    User: new Variant('s', 'jupyter-anna'),
    Slice: new Variant('s', 'jupyter-anna.slice'),
    Environment: new Variant('as', [...environment]),
  };
  fake.answer('Get', ([, name]) => ({ signature: 'v', body: [values[String(name)] ?? new Variant('s', '')] }));
  await watch.start();
  return { watch, readConfig: () => extractOf(CONFIG) };
}

/** What such a server's unit is told. */
function environmentOf(variant: { override?: string; choices?: Record<string, string> }): string[] {
  const { properties } = serverUnits({
    ...{ key: KEY, server: parseServerName(''), account: dynamicAccount(KEY, 70_001), startId: 'a'.repeat(32) },
    ...{ base: '', credentialFile: '/x' },
    ...{ profile: testProfile(), variant, timeouts: extractOf('').server, makesSlice: false },
  });
  return properties.find(([name]) => name === 'Environment')?.[1].value as string[];
}

t.test('a command has what the running server has, also what was chosen for it and took something away', async (t) => {
  const chosen = await setUp(t, environmentOf({ override: 'guests', choices: { size: 'small' } }));
  t.match(await chooseProfile(chosen, KEY, null), { name: 'default', network: 'none', memory_max_bytes: 2 ** 30 });
  t.match(await chooseProfile(chosen, KEY, 'default'), { network: 'full', memory_max_bytes: 2 ** 32 }, 'as it stands');
  t.equal((await chooseProfile(chosen, parseKey('bob'), null)).name, 'first');
  const gone = await setUp(t, environmentOf({ override: 'gone' }));
  await t.rejects(chooseProfile(gone, KEY, null), { code: 'MH_ERR_SPAWN_CHOICE' }, 'nor anything wider');
});

t.test('of a server that an earlier version started only the profile is known', async (t) => {
  const environment = environmentOf({}).filter((entry) => !entry.startsWith('METALHUB_VARIANT='));
  t.match(await chooseProfile(await setUp(t, environment), KEY, null), { name: 'default', network: 'full' });
});
