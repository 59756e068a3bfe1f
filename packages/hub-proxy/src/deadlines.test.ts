import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Deadlines } from './deadlines.js';

function standStill(milliseconds: number): void {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

t.test('R03: time in which the process stood still expires nothing', async (t) => {
  const deadlines = new Deadlines();
  let expired = 0;
  const item = { deadlineMs: deadlines.after(2000), onDeadline: () => void expired++ };
  deadlines.add(item);
  await sleep(20);
  standStill(4000);
  await sleep(20);
  t.equal(expired, 0, 'what came meanwhile can be read first');
  for (let tries = 0; expired === 0 && tries < 100; tries++) await sleep(100);
  t.ok(expired > 0, 'later it is over all the same');
  deadlines.delete(item);
});
