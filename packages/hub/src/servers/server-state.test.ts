import type { Key, ServerName } from '@metalhub/base/names.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import type { Failure } from '../db/tables/servers.js';
import { nextState, type Run, type ServerEvent, type ServerState, STOPPED } from './server-state.js';

const ID = 'a'.repeat(32);
const OTHER = 'b'.repeat(32);
const INVOCATION = 'c'.repeat(32);
const run: Run = { startId: ID, profile: 'default', requestedMs: 5, invocationId: null };
const failure: Failure = {
  code: 'MH_ERR_SPAWN_EXITED',
  message: 'x',
  hint: null,
  log_lines: [],
  at_ms: 1,
  during: 'run',
};

function seen(active_state: ServerStatus['active_state'], more: Partial<ServerStatus> = {}): ServerEvent {
  const status: ServerStatus = {
    key: 'anna' as Key,
    server: '' as ServerName,
    active_state,
    invocation_id: INVOCATION,
    start_id: ID,
    profile: 'default',
    started_at_ms: 9,
    result: null,
    exit_status: null,
    busy: null,
    idle_since_ms: null,
    out_of_memory_ms: null,
    frozen: false,
    ...more,
  };
  return { type: 'seen', status, nowMs: 7, failure };
}

function after(...events: ServerEvent[]): ServerState {
  return events.reduce(nextState, STOPPED);
}

const requested: ServerEvent = { type: 'start-requested', run };
const ready: ServerEvent = {
  type: 'became-ready',
  startId: ID,
  run: { ...run, invocationId: INVOCATION },
  startedMs: 9,
};
const lost: ServerEvent = { type: 'caller-lost', startId: ID };

t.test('a start goes from stopped over spawn to ready, a stop back', async (t) => {
  t.equal(after(requested).phase, 'spawn');
  t.equal(after(requested, ready).phase, 'ready');
  t.equal(after(requested, ready, { type: 'stop-requested' }).phase, 'stop');
  t.equal(after(requested, ready, { type: 'stop-requested' }, { type: 'stopped' }), STOPPED);
});

t.test('H09: a second start changes nothing', async (t) => {
  const spawning = after(requested);
  const again: ServerEvent = { type: 'start-requested', run: { ...run, startId: OTHER } };
  t.equal(nextState(spawning, again), spawning);
  const isReady = after(requested, ready);
  t.equal(nextState(isReady, again), isReady);
});

t.test('H09: what comes late about another start changes nothing', async (t) => {
  const stopping = after(requested, { type: 'stop-requested' });
  t.equal(nextState(stopping, ready), stopping, 'the start that a stop overtook');
  t.equal(nextState(stopping, { type: 'start-failed', startId: ID, failure }), stopping);
  const spawning = after(requested);
  t.equal(nextState(spawning, { type: 'start-failed', startId: OTHER, failure }), spawning);
  t.equal(nextState(spawning, seen('active', { start_id: OTHER })), spawning);
  const isReady = after(requested, ready);
  t.equal(nextState(isReady, seen('inactive', { start_id: OTHER })), isReady);
});

t.test('a stop that fails leaves things as they were', async (t) => {
  const isReady = after(requested, ready);
  t.same(nextState(nextState(isReady, { type: 'stop-requested' }), { type: 'stop-failed' }), isReady);
});

t.test('a failed start keeps its reason until the next one', async (t) => {
  const failed = after(requested, { type: 'start-failed', startId: ID, failure });
  t.same(failed, { phase: 'failed', failure });
  t.equal(nextState(failed, requested).phase, 'spawn');
  t.equal(nextState(failed, { type: 'stop-requested' }), failed);
});

t.test('a server that ends by itself has failed, unless it ended well', async (t) => {
  t.same(after(requested, ready, seen('failed', { result: 'oom-kill' })), { phase: 'failed', failure });
  t.same(after(requested, ready, seen('inactive', { result: 'exit-code' })), { phase: 'failed', failure });
  t.equal(after(requested, ready, seen('inactive', { result: 'success' })), STOPPED);
  t.equal(after(requested, ready, seen('inactive', { start_id: null, invocation_id: null })), STOPPED);
});

t.test('somebody else stops the unit', async (t) => {
  const stopping = after(requested, ready, seen('deactivating'));
  t.match(stopping, { phase: 'stop', isOurs: false });
  t.equal(nextState(stopping, seen('inactive', { result: 'success' })), STOPPED);
});

t.test('R06: a running unit is adopted', async (t) => {
  t.match(after(seen('active')), { phase: 'ready', startedMs: 9, run: { startId: ID, invocationId: INVOCATION } });
  t.equal(after(seen('active', { start_id: null })), STOPPED, 'not one without our start id');
  t.equal(after(requested, ready, seen('active', { start_id: OTHER })), STOPPED, 'nor one that took the place of ours');
});

t.test('R06: a start that another process began is followed by what is seen of it', async (t) => {
  const adopted = after(seen('activating'));
  t.match(adopted, { phase: 'spawn', isOurs: false });
  t.same(nextState(adopted, seen('failed')), { phase: 'failed', failure });
  const ours = after(requested);
  t.equal(nextState(ours, seen('failed')), ours, 'for our own the answer counts');
  t.same(nextState(nextState(ours, lost), seen('failed')), { phase: 'failed', failure }, 'unless it will not come');
});

t.test('the invocation is learnt on the way', async (t) => {
  t.match(after(requested, seen('activating')), { phase: 'spawn', run: { invocationId: INVOCATION }, isOurs: true });
  const isReady = after(requested, ready);
  t.equal(nextState(isReady, seen('active')), isReady, 'nothing new is no change');
});
