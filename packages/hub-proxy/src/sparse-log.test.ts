import { MINUTE_MS } from '@metalhub/base/time.js';
import t from 'tap';
import { SparseLog } from './sparse-log.js';
import { TestLog } from './testing/proxy.js';

t.test('what fails again and again is said at once, then once a minute with the number of times', async (t) => {
  let nowMs = 5;
  const log = new TestLog();
  const sparse = new SparseLog(log, { nowMs: () => 0, monotonicMs: () => nowMs });
  for (const atMs of [5, 6, MINUTE_MS, MINUTE_MS + 5, MINUTE_MS + 6, 2 * MINUTE_MS + 5]) {
    nowMs = atMs;
    sparse.error('it failed', { at: atMs });
  }
  t.match(log.lines, [
    { level: 'error', fields: { at: 5 } },
    { level: 'error', fields: { at: MINUTE_MS + 5, left_out: 2 } },
    { level: 'error', fields: { at: 2 * MINUTE_MS + 5, left_out: 1 } },
  ]);
  t.equal(log.lines.length, 3);
});
