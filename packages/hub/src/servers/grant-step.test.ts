import type { ServerName } from '@metalhub/base/names.js';
import t from 'tap';
import { grantStep } from './grant-step.js';
import type { Ready, ServerState } from './server-state.js';

const run = { startId: 'a'.repeat(32), profile: 'default', requestedMs: 1, invocationId: null };
const ready: Ready = { phase: 'ready', run, startedMs: 1 };
const later: ServerState = { phase: 'ready', run: { ...run, startId: 'b'.repeat(32) }, startedMs: 1 };
const grant = { userId: 1, name: '' as ServerName, limits: {}, startId: run.startId };

t.test('limits for a time are given back when it is over, and hold for a start within it', async (t) => {
  const timed = { ...grant, untilMs: 100 };
  t.equal(grantStep(timed, ready, 99), 'keep');
  t.equal(grantStep(timed, ready, 100), 'give-back');
  t.equal(grantStep(timed, { phase: 'stopped' }, 99), 'keep');
  t.equal(grantStep(timed, { phase: 'stopped' }, 100), 'forget');
  t.equal(grantStep(timed, undefined, 99), 'forget', 'of a server that was deleted meanwhile');
  t.equal(grantStep(timed, later, 99), 'apply');
  t.equal(grantStep(timed, later, 100), 'give-back', 'a start that is not known to have them may have them');
});

t.test('limits without a time hold for one start', async (t) => {
  const open = { ...grant, untilMs: null };
  t.equal(grantStep(open, ready, 1e15), 'keep');
  t.equal(grantStep(open, later, 0), 'forget');
  t.equal(grantStep(open, { phase: 'stopped' }, 0), 'forget');
});

t.test('while a server starts or stops it has to wait', async (t) => {
  const timed = { ...grant, untilMs: 100 };
  t.equal(grantStep(timed, { phase: 'spawn', run, isOurs: true }, 100), 'keep');
  t.equal(grantStep(timed, { phase: 'stop', run, before: ready, isOurs: true }, 100), 'keep');
});
