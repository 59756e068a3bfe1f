import t from 'tap';
import { RestartDelay } from './restart-delay.js';

t.test('R03: one that dies is replaced at once, those that keep dying ever later, up to five seconds', async (t) => {
  const delay = new RestartDelay();
  t.equal(delay.nextMs(3_600_000), 0);
  t.equal(delay.nextMs(500), 0, 'killed right after its start');
  t.same(
    Array.from({ length: 8 }, () => delay.nextMs(0)),
    [100, 200, 400, 800, 1600, 3200, 5000, 5000],
  );
  t.equal(delay.nextMs(60_000), 0, 'it was well in between');
});
