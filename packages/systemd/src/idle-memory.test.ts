import t from 'tap';
import { IdlePolicy, type IdleStep } from './idle-memory.js';

/** Steps taken after ticks in which the process used so many milliseconds of CPU time each. */
function stepsAfter(...usedMs: number[]): IdleStep[] {
  const policy = new IdlePolicy();
  let cpuMs = 0;
  return usedMs.map((used) => {
    cpuMs += used;
    return policy.next(cpuMs);
  });
}

t.test('after work a quiet tick collects, and the second after it trims, once', async (t) => {
  t.same(stepsAfter(500, 2, 3, 2, 2, 2), [undefined, 'collect', undefined, 'trim', undefined, undefined]);
});

t.test('nothing is done while there is work', async (t) => {
  t.same(stepsAfter(500, 500, 100, 9000), Array(4).fill(undefined));
});

t.test('work that comes before the trim puts it off to the next time', async (t) => {
  t.same(stepsAfter(500, 2, 400, 2, 2, 2), [undefined, 'collect', undefined, 'collect', undefined, 'trim']);
});

t.test('small work adds up until a collection is worth its time', async (t) => {
  t.same(stepsAfter(99, 99, 99, 99, 0), [undefined, undefined, undefined, 'collect', undefined]);
});
