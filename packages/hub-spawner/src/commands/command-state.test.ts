import t from 'tap';
import { commandEndOf, isOver } from './command-state.js';

const running = { isLoaded: true, isFailed: false, subState: 'running', code: 0, status: 0, result: 'success' };

t.test('a status is the command’s, a signal is 128 and its number', async (t) => {
  t.same(commandEndOf({ ...running, code: 1, status: 7 }), { status: 7, result: 'success' });
  t.same(commandEndOf({ ...running, code: 2, status: 9, result: 'oom-kill' }), { status: 137, result: 'oom-kill' });
  t.same(commandEndOf({ ...running, code: 3, status: 11 }), { status: 139, result: 'success' });
  t.same(commandEndOf({ ...running, isLoaded: false }), { status: 143, result: 'stopped' }, 'its unit is gone');
});

t.test('it is over when nothing more is to come', async (t) => {
  for (const subState of ['running', 'start', 'stop-sigterm', 'final-sigkill']) {
    t.notOk(isOver({ ...running, subState }), subState);
  }
  for (const subState of ['exited', 'dead']) t.ok(isOver({ ...running, subState }), subState);
  t.ok(isOver({ ...running, isFailed: true, subState: 'failed' }));
  t.ok(isOver({ ...running, isLoaded: false, subState: 'dead' }));
});
