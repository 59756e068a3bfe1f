import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { encodeMessage } from './bus-codec.js';
import { type FakeSystemd, startFakeSystemd } from './fake-systemd.js';
import { connectManager, type Manager } from './manager.js';
import { requireJobDone } from './manager-jobs.js';
import type { UnitChange } from './unit-events.js';
import { bool, descriptor, execStartEx, listen, str, u64 } from './unit-property.js';
import { Variant } from './variant.js';

const UNIT = 'jupyter-ada.service';
const JOB = '/org/freedesktop/systemd1/job/7';
const UNIT_PATH = '/org/freedesktop/systemd1/unit/jupyter_2dada_2eservice';

async function setUp(t: Test, callTimeoutMs = 2000): Promise<{ fake: FakeSystemd; manager: Manager; path: string }> {
  const path = join(mkdtempSync(join(tmpdir(), 'metalhub-bus-')), 'bus');
  const fake = await startFakeSystemd(path);
  const manager = await connectManager({ socketPath: path, callTimeoutMs });
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  return { fake, manager, path };
}

function jobRemoved(fake: FakeSystemd, result: string, sender?: string): void {
  fake.emit('JobRemoved', 'uoss', [7, JOB, UNIT, result], sender);
}

t.test('startTransientUnit', (t) => {
  t.test('sends the properties and returns when the job ends', async (t) => {
    const { fake, manager } = await setUp(t);
    let body: unknown;
    fake.answer('StartTransientUnit', (value) => {
      body = value;
      setTimeout(() => jobRemoved(fake, 'done'), 20);
      return { signature: 'o', body: [JOB] };
    });
    const properties = [bool('DynamicUser', true), u64('MemoryMax', 1n << 33n), execStartEx(['/bin/x', 'y'])];
    const auxiliary = [['jupyter-ada.socket', [listen([['Stream', '/run/x']])]]] as const;
    const outcome = await manager.startTransientUnit(UNIT, 'fail', properties, auxiliary);
    t.same(outcome, { unit: UNIT, jobPath: JOB, result: 'done', isDeduced: false });
    t.same(body, [
      UNIT,
      'fail',
      [
        ['DynamicUser', true],
        ['MemoryMax', 1n << 33n],
        ['ExecStartEx', [['/bin/x', ['/bin/x', 'y'], ['no-env-expand']]]],
      ],
      [['jupyter-ada.socket', [['Listen', [['Stream', '/run/x']]]]]],
    ]);
  });
  t.test('notices a job that ended before the reply came', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StartTransientUnit', () => {
      jobRemoved(fake, 'failed');
      return { signature: 'o', body: [JOB] };
    });
    const outcome = await manager.startTransientUnit(UNIT, 'fail', []);
    t.equal(outcome.result, 'failed');
    t.throws(() => requireJobDone(outcome), {
      code: 'MH_ERR_SYSTEMD_JOB_FAILED',
      details: { unit: UNIT, result: 'failed' },
    });
  });
  t.test('maps errors and keeps the raw name', async (t) => {
    const { fake, manager } = await setUp(t);
    const busError = 'org.freedesktop.systemd1.UnitExists';
    fake.answer('StartTransientUnit', () => ({ error: busError }));
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', []), {
      code: 'MH_ERR_SYSTEMD_UNIT_EXISTS',
      details: { unit: UNIT, busError },
    });
    fake.answer('StartTransientUnit', () => ({ error: 'org.freedesktop.DBus.Error.AccessDenied' }));
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', []), { code: 'MH_ERR_SYSTEMD_ACCESS_DENIED' });
    fake.answer('StartTransientUnit', () => ({ error: 'org.example.Odd' }));
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', []), { code: 'MH_ERR_SYSTEMD_CALL' });
  });
  t.test('is not made twice when the connection is lost before the answer', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StartTransientUnit', () => {
      fake.dropConnections();
      return undefined;
    });
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', []), { code: 'MH_ERR_SYSTEMD_UNAVAILABLE' });
    t.equal(fake.calls.filter((member) => member === 'StartTransientUnit').length, 1);
  });
  t.test('ends the wait by signal or time-out', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StartTransientUnit', () => ({ signature: 'o', body: [JOB] }));
    const signal = AbortSignal.timeout(30);
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', [], [], { signal }), { name: 'TimeoutError' });
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', [], [], { jobTimeoutMs: 30 }), {
      code: 'MH_ERR_SYSTEMD_TIMEOUT',
    });
  });
  t.test('sends no descriptor once the call has failed, whatever the clock says', async (t) => {
    const { fake, manager } = await setUp(t, 300);
    fake.setStuck(true);
    // More than the socket takes: what has descriptors must wait behind it.
    const large = manager.setUnitProperties(UNIT, true, [str('Description', 'x'.repeat(2 ** 22))]);
    const start = manager.startTransientUnit(UNIT, 'fail', [descriptor('StandardInputFileDescriptor', 0)]);
    const nowMs = Date.now();
    t.intercept(Date, 'now', { value: () => nowMs - 3_600_000 });
    const timedOut = { code: 'MH_ERR_SYSTEMD_TIMEOUT' };
    await Promise.all([t.rejects(large, timedOut), t.rejects(start, timedOut)]);
    fake.setStuck(false);
    while (!fake.calls.includes('SetUnitProperties')) await sleep(20);
    await sleep(200);
    t.notOk(fake.calls.includes('StartTransientUnit'));
  });
  t.test('rejects a value that does not fit its type, and goes on', async (t) => {
    const { fake, manager } = await setUp(t);
    await t.rejects(manager.startTransientUnit(UNIT, 'fail', [u64('MemoryMax', -1n)]));
    fake.answer('GetUnit', () => ({ signature: 'o', body: [UNIT_PATH] }));
    t.equal(await manager.findUnit(UNIT), UNIT_PATH);
  });
  t.end();
});

t.test('signals', (t) => {
  t.test('are believed from systemd only', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StopUnit', () => {
      jobRemoved(fake, 'done', ':1.66');
      jobRemoved(fake, 'canceled');
      return { signature: 'o', body: [JOB] };
    });
    t.equal((await manager.stopUnit(UNIT, 'replace')).result, 'canceled');
  });
  t.test('that cannot be decoded are dropped', async (t) => {
    const { fake, manager } = await setUp(t);
    const bad = encodeMessage({
      type: 4,
      serial: 9,
      sender: ':1.1',
      path: '/a',
      interface: 'a.b',
      member: 'C',
      signature: 'u',
      body: [0],
    }).bytes;
    // A descriptor index in a message without descriptors.
    bad[bad.indexOf(Buffer.from([1, 0x75, 0])) + 1] = 0x68;
    fake.sendRaw(bad);
    fake.answer('GetUnit', () => ({ signature: 'o', body: [UNIT_PATH] }));
    t.equal(await manager.findUnit(UNIT), UNIT_PATH);
  });
  t.test('about units reach the listeners whose pattern fits', async (t) => {
    const { fake, manager } = await setUp(t);
    await manager.subscribe();
    const seen: UnitChange[] = [];
    const stop = manager.onUnitChanged((change) => seen.push(change), 'jupyter-*.service');
    manager.onUnitChanged(() => {
      throw new Error('a bug of the listener');
    }, 'jupyter-*');
    fake.answer('GetUnit', () => {
      fake.emit('UnitNew', 'so', [UNIT, UNIT_PATH]);
      fake.emit('UnitNew', 'so', ['other.service', '/org/freedesktop/systemd1/unit/other_2eservice']);
      const body = ['org.freedesktop.systemd1.Unit', { ActiveState: new Variant('s', 'active') }, []];
      fake.emitFrom(UNIT_PATH, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', body);
      fake.emit('UnitRemoved', 'so', [UNIT, UNIT_PATH]);
      return { signature: 'o', body: [UNIT_PATH] };
    });
    await manager.findUnit(UNIT);
    t.same(seen, [
      { unit: UNIT, kind: 'loaded', properties: {} },
      { unit: UNIT, kind: 'changed', properties: { ActiveState: 'active' } },
      { unit: UNIT, kind: 'unloaded', properties: {} },
    ]);
    stop();
    await manager.findUnit(UNIT);
    t.equal(seen.length, 3);
  });
  t.end();
});

t.test('a lost connection', (t) => {
  t.test('comes back, and calls wait for it', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('GetUnit', () => ({ signature: 'o', body: [UNIT_PATH] }));
    fake.dropConnections();
    t.equal(await manager.findUnit(UNIT), UNIT_PATH);
    t.ok(fake.calls.filter((member) => member === 'Subscribe').length === 2, 'subscribed again');
  });
  t.test('does not lose a job: its end is read off the unit', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StartTransientUnit', () => ({ signature: 'o', body: [JOB] }));
    fake.answer('GetJob', () => ({ error: 'org.freedesktop.systemd1.NoSuchJob' }));
    fake.answer('Get', () => ({ signature: 's', body: ['active'] }));
    let resyncs = 0;
    manager.onResync(() => resyncs++);
    const outcome = manager.startTransientUnit(UNIT, 'fail', []);
    setTimeout(() => fake.dropConnections(), 50);
    t.same(await outcome, { unit: UNIT, jobPath: JOB, result: 'done', isDeduced: true });
    t.equal(resyncs, 0, 'listeners hear of it after the jobs');
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(resyncs, 1);
  });
  t.test('keeps a job that still runs', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StartTransientUnit', () => ({ signature: 'o', body: [JOB] }));
    fake.answer('GetJob', () => ({ signature: 'o', body: [JOB] }));
    manager.onResync(() => jobRemoved(fake, 'done'));
    const outcome = manager.startTransientUnit(UNIT, 'fail', []);
    setTimeout(() => fake.dropConnections(), 50);
    t.match(await outcome, { result: 'done', isDeduced: false });
  });
  t.test('is the same for a systemd that re-executes itself', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('GetUnit', () => ({ signature: 'o', body: [UNIT_PATH] }));
    fake.answer('StopUnit', () => ({ signature: 'o', body: [JOB] }));
    fake.answer('GetJob', () => ({ error: 'org.freedesktop.systemd1.NoSuchJob' }));
    fake.answer('Get', () => ({ signature: 's', body: ['inactive'] }));
    const outcome = manager.stopUnit(UNIT, 'replace');
    setTimeout(() => fake.changeOwner(), 50);
    t.match(await outcome, { result: 'done', isDeduced: true });
    t.equal(await manager.findUnit(UNIT), UNIT_PATH);
  });
  t.test('ends waits when the manager is closed', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('StopUnit', () => ({ signature: 'o', body: [JOB] }));
    const outcome = manager.stopUnit(UNIT, 'replace');
    setTimeout(() => manager.close(), 30);
    await t.rejects(outcome, { code: 'MH_ERR_SYSTEMD_UNAVAILABLE' });
    await t.rejects(manager.findUnit(UNIT), { code: 'MH_ERR_SYSTEMD_UNAVAILABLE' });
  });
  t.end();
});

t.test('calls', (t) => {
  t.test('time out, and a late answer is ignored', async (t) => {
    const { fake, manager } = await setUp(t, 60);
    fake.answer('GetUnit', () => undefined);
    await t.rejects(manager.findUnit(UNIT), {
      code: 'MH_ERR_SYSTEMD_TIMEOUT',
      details: { timeoutMs: 60, what: 'GetUnit' },
    });
  });
  t.test('tell an unloaded unit from an error', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('GetUnit', () => ({ error: 'org.freedesktop.systemd1.NoSuchUnit' }));
    t.equal(await manager.findUnit(UNIT), undefined);
    fake.answer('GetUnit', () => ({ error: 'org.freedesktop.DBus.Error.Failed' }));
    await t.rejects(manager.findUnit(UNIT), { code: 'MH_ERR_SYSTEMD_CALL' });
  });
  t.test('read properties and lists', async (t) => {
    const { fake, manager } = await setUp(t);
    fake.answer('Get', ([, name]) => ({ signature: 's', body: [`value of ${String(name)}`] }));
    t.same(await manager.unitProperties(UNIT, 'Unit', ['ActiveState', 'SubState']), {
      ActiveState: 'value of ActiveState',
      SubState: 'value of SubState',
    });
    const row = [UNIT, 'text', 'loaded', 'active', 'running', '', UNIT_PATH, 0, '', '/'];
    fake.answer('ListUnitsByPatterns', () => ({ signature: 'a(ssssssouso)', body: [[row]] }));
    t.same(await manager.listUnitsByPatterns([], ['jupyter-*']), [
      { name: UNIT, description: 'text', loadState: 'loaded', activeState: 'active', subState: 'running', jobId: 0 },
    ]);
  });
  t.end();
});

t.test('connectManager says that there is no bus', async (t) => {
  await t.rejects(connectManager({ socketPath: '/nonexistent/bus' }), {
    code: 'MH_ERR_SYSTEMD_UNAVAILABLE',
    details: { reason: /ENOENT/ },
  });
});

t.test('a unit file is enabled and disabled for good, and by its name alone', async (t) => {
  const { fake, manager } = await setUp(t);
  const bodies: unknown[] = [];
  for (const member of ['EnableUnitFiles', 'DisableUnitFiles']) {
    fake.answer(member, (body) => {
      bodies.push([member, ...body]);
      return {};
    });
  }
  await manager.setUnitFileEnabled('a.socket', true);
  await manager.setUnitFileEnabled('a.socket', false);
  t.same(bodies, [
    ['EnableUnitFiles', ['a.socket'], false, false],
    ['DisableUnitFiles', ['a.socket'], false],
  ]);
});
