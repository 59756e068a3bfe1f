import { parseKey } from '@metalhub/base/names.js';
import t from 'tap';
import { createKeyCounter } from './key-counter.js';

t.test('a key is in use until the last request that relies on it has ended', async (t) => {
  const counter = createKeyCounter();
  const [anna, bob] = [parseKey('anna'), parseKey('bob')];
  t.equal(counter.size, 0);
  const leaves = [counter.enter(anna), counter.enter(anna), counter.enter(bob)];
  t.equal(counter.size, 2);
  leaves[0]?.();
  t.ok(counter.has(anna));
  leaves[1]?.();
  t.notOk(counter.has(anna));
  t.equal(counter.size, 1);
  leaves[2]?.();
  t.equal(counter.size, 0);
});
