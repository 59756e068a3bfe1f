import t from 'tap';
import { openWithAnna } from '../testing/anna.js';
import { until } from '../testing/test-hub.js';

// Of the whole file, also when it is run by itself: half a minute is not enough on a busy machine.
t.setTimeout(600_000);

t.test('a server whose way cannot be opened is not called ready before it can', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  test.proxy.isBroken = true;
  await anna.submit('/hub/spawn');
  await until(() => test.spawner.units.size === 1 && test.slept.length > 2);
  t.equal(phase(), 'spawn');
  test.proxy.isBroken = false;
  await until(() => phase() === 'ready');
  t.equal(test.proxy.routes.size, 1);
});

t.test(
  'R07: a server whose way the proxy cannot store is ready at once, and the way is opened when it can',
  async (t) => {
    const { test, anna, phase } = await openWithAnna(t);
    test.proxy.isFull = true;
    await anna.submit('/hub/spawn');
    await until(() => phase() === 'ready');
    t.same(test.slept, [], 'nobody waits for what will not come');
    t.equal(test.proxy.routes.size, 0);
    t.match((await anna.get('/hub/user/anna/lab')).body, 'The disk is full.', 'its user is told why');
    test.proxy.isFull = false;
    await until(() => test.proxy.routes.size === 1);
  },
);

t.test('R07: a start that cannot be recorded is refused, and nothing was started', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  const csrf = await anna.token('/hub/home');
  await test.context.database.execute('PRAGMA query_only = ON');
  const refused = await anna.post('/hub/spawn', { csrf, server: '' });
  t.equal(refused.statusCode, 503);
  t.match(refused.body, 'read-only');
  t.equal(test.spawner.count('StartServer'), 0);
  t.equal(phase(), 'stopped');
  t.equal((await anna.get('/hub/home')).statusCode, 200);
  await test.context.database.execute('PRAGMA query_only = OFF');
  await anna.post('/hub/spawn', { csrf, server: '' });
  await until(() => phase() === 'ready');
});
