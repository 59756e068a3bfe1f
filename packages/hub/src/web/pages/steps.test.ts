import t from 'tap';
import { foldProgress } from './steps.js';

const account = { progress: 10, message: 'Preparing your account', stage: 'account' };
const start = { progress: 50, message: 'Starting JupyterLab', stage: 'start' };

t.test('foldProgress', async (t) => {
  t.test('says something before the first event', async (t) => {
    t.match(foldProgress([]), { state: 'running', percent: 0, steps: [], status: 'Preparing the start' });
  });

  t.test('has every step but the newest done', async (t) => {
    const { steps, status } = foldProgress([account, start]);
    t.same(
      steps.map(({ state }) => state),
      ['done', 'active'],
    );
    t.equal(status, 'Starting JupyterLab');
  });

  t.test('replaces the message of a stage that is told again', async (t) => {
    const { steps } = foldProgress([start, { ...start, message: 'Still starting' }]);
    t.same(steps, [{ key: 'start', message: 'Still starting', state: 'active' }]);
  });

  t.test('never goes back, nor beyond the end', async (t) => {
    t.equal(foldProgress([start, account]).percent, 50);
    t.equal(foldProgress([{ ...start, progress: 140 }]).percent, 100);
  });

  t.test('marks the step at which the start failed, and shows why', async (t) => {
    const failure = { message: 'It ended.', logLines: ['x'] };
    const progress = foldProgress([account, start, { progress: 100, message: 'failed', failed: true, failure }]);
    t.match(progress, { state: 'failed', status: 'It ended.', failure });
    t.same(
      progress.steps.map(({ state }) => state),
      ['done', 'failed'],
    );
  });

  t.test('takes the message as the reason when a failure tells none', async (t) => {
    t.same(foldProgress([{ progress: 0, message: 'No space is left.', failed: true }]).failure, {
      message: 'No space is left.',
      logLines: [],
    });
  });

  t.test('is complete when ready', async (t) => {
    const progress = foldProgress([account, { progress: 90, message: 'Ready', ready: true, url: '/user/a/' }]);
    t.match(progress, { state: 'ready', percent: 100, url: '/user/a/', steps: [{ state: 'done' }] });
  });
});
