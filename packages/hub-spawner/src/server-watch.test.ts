import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@metalhub/base/log.js';
import { startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { Variant } from '@metalhub/systemd/variant.js';
import t from 'tap';
import { createServerWatch } from './server-watch.js';

const UNIT = 'jupyter-anna.service';
const PATH = '/org/freedesktop/systemd1/unit/jupyter_2danna_2eservice';
const nothing = (): void => undefined;
const log: Log = {
  debug: nothing,
  info: nothing,
  notice: nothing,
  warning: nothing,
  error: nothing,
  critical: nothing,
  child: () => log,
};

t.test('a unit that has gone is not read again for what its reading makes systemd say', async (t) => {
  const socketPath = join(mkdtempSync(join(tmpdir(), 'watch-')), 'bus');
  const fake = await startFakeSystemd(socketPath);
  const manager = await connectManager({ socketPath });
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  // As the real one does: what is asked for is loaded, found missing, and dropped, each time with a word to all.
  const tellOfLoading = (): void => {
    fake.emit('UnitNew', 'so', [UNIT, PATH]);
    fake.emit('UnitRemoved', 'so', [UNIT, PATH]);
  };
  fake.answer('ListUnitsByPatterns', () => ({ signature: 'a(ssssssouso)', body: [[]] }));
  fake.answer('GetUnit', () => ({ error: 'org.freedesktop.systemd1.NoSuchUnit' }));
  fake.answer('Get', () => {
    tellOfLoading();
    return { signature: 'v', body: [new Variant('s', 'not-found')] };
  });
  const watch = createServerWatch({ manager, log, onFailed: nothing });
  await watch.start();
  tellOfLoading();
  for (let quiet = 0, before = 0; quiet < 10; quiet = fake.calls.length === before ? quiet + 1 : 0) {
    before = fake.calls.length;
    await sleep(10);
    if (before > 200) break;
  }
  const asked = fake.calls.filter((member) => member === 'GetUnit' || member === 'Get');
  t.ok(asked.length >= 1 && asked.length <= 4, `asked ${asked.length} times`);
  t.same(watch.list(), []);
});
