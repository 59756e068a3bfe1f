import t from 'tap';
import { memoryCeiling, workerCount } from './generation-limits.js';

t.test('as many workers as configured, else by the number of cores', async (t) => {
  t.same(
    [1, 2, 3, 4, 64].map((cores) => workerCount(0, cores)),
    [1, 1, 1, 2, 2],
  );
  t.equal(workerCount(5, 2), 5);
});

t.test('the memory of earlier generations is bounded by the configuration and by the machine', async (t) => {
  t.equal(memoryCeiling('2G', 64 * 2 ** 30), 2 * 2 ** 30);
  t.equal(memoryCeiling('2G', 2 ** 30), Math.floor(0.4 * 2 ** 30));
  t.equal(memoryCeiling('', 10 * 2 ** 30), 4 * 2 ** 30);
});
