import { parseKey, parseServerName } from '@metalhub/base/names.js';
import { absentStatus, baseOf, serverStatusShape } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { interpretUnit, type UnitValues } from './server-units.js';

const key = parseKey('anna');
const server = parseServerName('');

const running: UnitValues = {
  LoadState: 'loaded',
  ActiveState: 'active',
  Transient: true,
  InvocationID: Buffer.from('0123456789abcdef0123456789abcdef', 'hex'),
  ActiveEnterTimestamp: 1_700_000_000_123_456n,
  Environment: ['HOME=/x', `METALHUB_START_ID=${'a'.repeat(32)}`, 'METALHUB_PROFILE=default'],
  Slice: 'jupyter-anna.slice',
  User: 'jupyter-anna',
  DynamicUser: true,
  PAMName: '',
  ControlGroup: '/jupyter.slice/jupyter-anna.slice/jupyter-anna.service',
  Result: 'success',
  ExecMainCode: 0,
  ExecMainStatus: 0,
  MainPID: 812,
  UID: 70_001,
  StatusText: 'Idle since 2026-11-23T03:20:00Z',
  FreezerState: 'running',
};

t.test('a running server of ours is told with everything the hub needs to know it again', async (t) => {
  const unit = interpretUnit(key, server, running);
  t.match(unit, { ownership: 'ours', mainPid: 812, uid: 70_001 });
  t.same(unit.status, {
    key,
    server,
    active_state: 'active',
    invocation_id: '0123456789abcdef0123456789abcdef',
    start_id: 'a'.repeat(32),
    profile: 'default',
    started_at_ms: 1_700_000_000_123,
    result: 'success',
    exit_status: null,
    busy: false,
    idle_since_ms: Date.UTC(2026, 10, 23, 3, 20),
    out_of_memory_ms: null,
    frozen: false,
  });
  t.same(serverStatusShape(unit.status, ''), unit.status, 'and fits the protocol');
});

t.test('below which base a server serves is told, unless its unit says nothing or nonsense of it', async (t) => {
  const baseFrom = (value: string) => {
    const environment = [...(running.Environment as string[]), `METALHUB_BASE=${value}`];
    return interpretUnit(key, server, { ...running, Environment: environment }).status.base;
  };
  for (const base of ['', '/jupyter', '/a/b.c']) t.equal(baseFrom(base), base);
  for (const base of ['/', 'x', '/a/', '//', '/..', '/a/../b', '/a b', '/a?b'])
    t.equal(baseFrom(base), undefined, base);
  t.notOk('base' in interpretUnit(key, server, running).status);
});

t.test('the base of a path is what stands in front of the user, whatever user and server are called', async (t) => {
  const named = parseServerName('user');
  t.equal(baseOf('/user/anna/', server), '');
  t.equal(baseOf('/user/user/user/', named), '');
  t.equal(baseOf('/jupyter/user/user/', server), '/jupyter');
  t.equal(baseOf('/a/user/b/user/anna/user/', named), '/a/user/b');
});

t.test('one that has failed tells how', async (t) => {
  const values = { ...running, ActiveState: 'failed', Result: 'signal', ExecMainCode: 2, ExecMainStatus: 9 };
  t.match(interpretUnit(key, server, values).status, {
    active_state: 'failed',
    result: 'signal',
    exit_status: 9,
    started_at_ms: null,
  });
});

t.test('one whose processes stand still is frozen, also while they are being stopped', async (t) => {
  for (const state of ['frozen', 'freezing']) {
    t.equal(interpretUnit(key, server, { ...running, FreezerState: state }).status.frozen, true, state);
  }
});

t.test('a state that this version does not know is not taken for running', async (t) => {
  t.equal(interpretUnit(key, server, { ...running, ActiveState: 'dancing' }).status.active_state, 'maintenance');
});

t.test('S10: anything that differs from what we make belongs to somebody else', async (t) => {
  const differences: Partial<Record<keyof UnitValues, UnitValues[keyof UnitValues]>>[] = [
    { Transient: false },
    { LoadState: 'masked' },
    { LoadState: 'error' },
    { DynamicUser: false },
    { User: 'root' },
    { User: 'jupyter-bob' },
    { Slice: 'system.slice' },
    { Environment: [] },
    { Environment: ['METALHUB_START_ID=short'] },
  ];
  for (const difference of differences) {
    const unit = interpretUnit(key, server, { ...running, ...difference });
    t.equal(unit.ownership, 'foreign', JSON.stringify(difference));
    t.equal(unit.status.active_state, 'inactive', 'nothing of it is told');
  }
});

t.test('a server of a local account is ours, and says whose it is', async (t) => {
  const values = { ...running, DynamicUser: false, User: 'anna.smith', PAMName: 'metalhub-session', UID: 1001 };
  t.match(interpretUnit(key, server, values), { ownership: 'ours', isLocal: true, account: 'anna.smith', uid: 1001 });
  t.match(interpretUnit(key, server, running), { isLocal: false, account: 'jupyter-anna' });
  for (const difference of [{ PAMName: 'login' }, { User: '' }, { User: 'root' }, { Slice: 'user.slice' }]) {
    const { ownership } = interpretUnit(key, server, { ...values, ...difference });
    t.equal(ownership, 'foreign', JSON.stringify(difference));
  }
});

t.test('a unit that is not there is absent, with what is remembered of its end', async (t) => {
  const absent = interpretUnit(key, server, { ...running, LoadState: 'not-found' });
  t.equal(absent.ownership, 'absent');
  t.same(absent.status, absentStatus({ key, server }));
  const last = { ...interpretUnit(key, server, running).status, result: 'oom-kill', exit_status: 9 };
  t.match(absentStatus({ key, server }, last), {
    active_state: 'inactive',
    invocation_id: null,
    result: 'oom-kill',
    exit_status: 9,
  });
});
