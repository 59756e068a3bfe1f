import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { commandUnit, parseKey } from '@metalhub/base/names.js';
import { type FakeReply, type FakeSystemd, startFakeSystemd } from '@metalhub/systemd/fake-systemd.js';
import { connectManager } from '@metalhub/systemd/manager.js';
import { type BusInput, Variant } from '@metalhub/systemd/variant.js';
import t, { type Test } from 'tap';
import { type CommandTable, createCommandTable } from './command-table.js';

const KEY = parseKey('anna');
const ID = '0123abcd';
const UNIT = commandUnit(KEY, ID);
const UNIT_PATH = '/org/freedesktop/systemd1/unit/jupyter_2danna_2dexec_2d0123abcd_2eservice';
const JOB = '/org/freedesktop/systemd1/job/7';
const RUNNING: Record<string, Variant> = {
  LoadState: new Variant('s', 'loaded'),
  ActiveState: new Variant('s', 'active'),
  SubState: new Variant('s', 'running'),
  ExecMainCode: new Variant('i', 0),
  ExecMainStatus: new Variant('i', 0),
  Result: new Variant('s', 'success'),
};
const nothing = (): void => {};
const log: Log = {
  ...{ debug: nothing, info: nothing, notice: nothing, warning: nothing, error: nothing, critical: nothing },
  child: () => log,
};

async function setUp(t: Test) {
  const path = join(mkdtempSync(join(tmpdir(), 'metalhub-commands-')), 'bus');
  const fake = await startFakeSystemd(path);
  const manager = await connectManager({ socketPath: path, callTimeoutMs: 2000 });
  await manager.subscribe();
  t.teardown(async () => {
    manager.close();
    await fake.close();
  });
  const values = { ...RUNNING };
  fake.answer('Get', ([, name]) => ({ signature: 'v', body: [values[String(name)] as Variant] }));
  fake.answer('ResetFailedUnit', () => ({}));
  fake.answer('StopUnit', () => {
    setTimeout(() => fake.emit('JobRemoved', 'uoss', [7, JOB, UNIT, 'done']), 5);
    return { signature: 'o', body: [JOB] };
  });
  const table = createCommandTable({ manager, log, graceMs: 50 });
  table.add(UNIT);
  return { fake, table, values };
}

function changed(fake: FakeSystemd, subState: string): void {
  const body: BusInput[] = ['org.freedesktop.systemd1.Unit', { SubState: new Variant('s', subState) }, []];
  fake.emitFrom(UNIT_PATH, 'org.freedesktop.DBus.Properties', 'PropertiesChanged', 'sa{sv}as', body);
}

/** Lets what is under way come to its end. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 50));
const wait = (table: CommandTable, signal = new AbortController().signal) => table.wait(KEY, ID, signal);

t.test('the status of a command that has ended is told, and what it left running is stopped', async (t) => {
  const { fake, table, values } = await setUp(t);
  const end = wait(table);
  await settle();
  values['SubState'] = new Variant('s', 'exited');
  values['ExecMainCode'] = new Variant('i', 1);
  values['ExecMainStatus'] = new Variant('i', 7);
  changed(fake, 'exited');
  t.same(await end, { status: 7, result: 'success' });
  t.ok(fake.calls.includes('StopUnit'));
  t.equal(table.size, 0);
  await t.rejects(wait(table), { code: 'MH_ERR_SPAWN_NO_COMMAND' });
});

t.test('a unit that cannot be stopped costs nobody the status, and is tried again until it is gone', async (t) => {
  const { fake, table, values } = await setUp(t);
  let stops = 0;
  const stop = (): FakeReply => {
    setTimeout(() => fake.emit('JobRemoved', 'uoss', [7, JOB, UNIT, 'done']), 5);
    return { signature: 'o', body: [JOB] };
  };
  fake.answer('StopUnit', () => (++stops < 3 ? { error: 'org.freedesktop.DBus.Error.LimitsExceeded' } : stop()));
  Object.assign(values, { SubState: new Variant('s', 'exited'), ExecMainCode: new Variant('i', 1) });
  values['ExecMainStatus'] = new Variant('i', 7);
  t.same(await wait(table), { status: 7, result: 'success' });
  t.equal(table.size, 1, 'it is not forgotten');
  while (table.size > 0) await settle();
  t.equal(stops, 3);
});

t.test('a unit whose start seems to have failed is ended', async (t) => {
  const { fake, table } = await setUp(t);
  const other = commandUnit(KEY, 'deadbeef');
  const stopped: unknown[] = [];
  fake.answer('StopUnit', ([unit]) => {
    stopped.push(unit);
    return { error: 'org.freedesktop.systemd1.NoSuchUnit' };
  });
  await table.discard(other);
  t.same(stopped, [other]);
  t.equal(table.size, 1, 'and only that');
});

t.test('a command whose caller goes is stopped, but not because this process ends', async (t) => {
  for (const isLeaving of [false, true]) {
    const { fake, table } = await setUp(t);
    const gone = new AbortController();
    const end = wait(table, gone.signal);
    await settle();
    if (isLeaving) table.leave();
    gone.abort(new Error('gone'));
    await t.rejects(end, { message: 'gone' });
    t.equal(fake.calls.includes('StopUnit'), !isLeaving);
  }
});

t.test('of two callers the first may go', async (t) => {
  const { fake, table } = await setUp(t);
  const gone = new AbortController();
  const first = wait(table, gone.signal);
  const second = wait(table);
  await settle();
  gone.abort(new Error('gone'));
  await t.rejects(first);
  t.notOk(fake.calls.includes('StopUnit'));
  fake.emit('UnitRemoved', 'so', [UNIT, UNIT_PATH]);
  await second;
});

t.test('a unit that is gone is asked nothing, which would load it again', async (t) => {
  const { fake, table } = await setUp(t);
  const end = wait(table);
  // It is read once at first, three properties of each of two interfaces.
  while (fake.calls.filter((member) => member === 'Get').length < 6) await settle();
  const before = fake.calls.length;
  for (const state of ['stop-sigterm', 'final-sigkill']) changed(fake, state);
  for (let round = 0; round < 10; round++) {
    fake.emit('UnitNew', 'so', [UNIT, UNIT_PATH]);
    fake.emit('UnitRemoved', 'so', [UNIT, UNIT_PATH]);
  }
  t.same(await end, { status: 143, result: 'stopped' });
  await settle();
  t.notOk(fake.calls.slice(before).includes('Get'));
});
