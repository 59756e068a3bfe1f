import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { type BusInput, Variant } from '@metalhub/systemd/variant.js';
import t, { type Test } from 'tap';
import { listenDropIn } from './listen-drop-in.js';
import { applyListen } from './listen-socket.js';

const WANTED = ['0.0.0.0:443', '[::]:443'];
const OF_THE_SITE = '10.0.0.1:8443';

/** hub-proxy.socket, on addresses, since now. */
async function openSocket(t: Test, addresses: readonly string[], properties: Readonly<Record<string, Variant>> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'listen-'));
  const dropIn = join(directory, 'hub-proxy.socket.d', 'ours.conf');
  mkdirSync(join(dropIn, '..'));
  writeFileSync(dropIn, listenDropIn(WANTED) ?? '');
  const fake = await startFakeSystemd(join(directory, 'bus'));
  const manager = await connectManager({ socketPath: join(directory, 'bus') });
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  const known: Record<string, Variant> = {
    Listen: new Variant(
      'a(ss)',
      addresses.map((address): BusInput => ['Stream', address]),
    ),
    ActiveState: new Variant('s', 'active'),
    ActiveEnterTimestamp: new Variant('t', BigInt(Date.now() + 1000) * 1000n),
    NeedDaemonReload: new Variant('b', false),
    ...properties,
  };
  fake.answer('Get', ([, name]) => ({ signature: 'v', body: [known[String(name)] ?? new Variant('s', '')] }));
  return { fake, apply: () => applyListen(manager, WANTED, dropIn) };
}

t.test('a socket that listens on what is wanted is left alone', async (t) => {
  const { fake, apply } = await openSocket(t, WANTED);
  t.equal(await apply(), undefined);
  t.notOk(fake.calls.includes('Reload'));
});

t.test('addresses that a drop-in of the administrator adds are no reason to restart it each time', async (t) => {
  const { fake, apply } = await openSocket(t, [...WANTED, OF_THE_SITE]);
  t.equal(await apply(), undefined);
  t.notOk(fake.calls.includes('Reload'));
});

t.test('what systemd has not read yet, or does not listen on yet, is brought into force', async (t) => {
  const states: Readonly<Record<string, Variant>>[] = [
    { NeedDaemonReload: new Variant('b', true) },
    { ActiveEnterTimestamp: new Variant('t', 1n) },
    { ActiveState: new Variant('s', 'failed') },
  ];
  for (const state of states) {
    const { fake, apply } = await openSocket(t, [...WANTED, OF_THE_SITE], state);
    // It does not come to the restart: the machine of the test refuses.
    await t.rejects(apply());
    t.ok(fake.calls.includes('Reload'), Object.keys(state).join());
  }
});
