import t from 'tap';
import { Http2Budget } from './http2-budget.js';

const MB = 1e6;

t.test('what is of use is never too much, and neither is a little that is not', async (t) => {
  const budget = new Http2Budget(0);
  let [received, useful, frames] = [0, 0, 0];
  for (let second = 1; second <= 600; second++) {
    // Bodies in frames of 110 bytes, and their heads.
    frames += 1_000_000;
    useful += 110 * MB;
    received += 119 * MB + 60_000;
    if (!budget.allows({ received, useful, frames }, second * 1000)) t.fail(`second ${second}`);
  }
  t.ok(budget.allows({ received: received + 4 * MB, useful, frames }, 600_000), 'uploads that nobody wanted');
});

t.test('what is of no use ends it, however long the connection was quiet before', async (t) => {
  const budget = new Http2Budget(0);
  t.ok(budget.allows({ received: 1000, useful: 1000, frames: 0 }, 86_400_000));
  t.ok(budget.allows({ received: 4 * MB, useful: 1000, frames: 0 }, 86_401_000));
  t.notOk(budget.allows({ received: 8 * MB, useful: 1000, frames: 0 }, 86_402_000));
  const slow = new Http2Budget(0);
  let second = 0;
  while (slow.allows({ received: second * MB, useful: 0, frames: 0 }, second * 1000)) second++;
  t.equal(second, 5, 'a megabyte each second');
});

t.test('bodies in tiny pieces may come slowly only', async (t) => {
  const quick = new Http2Budget(0);
  t.ok(quick.allows({ received: 10 * 30_000, useful: 30_000, frames: 30_000 }, 1000));
  t.notOk(quick.allows({ received: 10 * 60_000, useful: 60_000, frames: 60_000 }, 2000));
  const slow = new Http2Budget(0);
  for (let second = 1; second <= 3600; second++) {
    const frames = second * 500;
    if (!slow.allows({ received: 10 * frames, useful: frames, frames }, second * 1000)) t.fail(`second ${second}`);
  }
  t.pass('500 each second');
});
