import t from 'tap';
import { openWithAnna } from '../testing/anna.js';
import { refuseStart } from '../testing/peers.js';
import { Browser, until } from '../testing/test-hub.js';

t.test(
  'who looks at a Start button has the spawner called ahead, once in a while; a page that asks again by itself does not count',
  async (t) => {
    const { test, anna } = await openWithAnna(t);
    await until(() => test.spawner.watchers === 0);
    const before = test.spawner.count('Status');
    await anna.get('/hub/home');
    await anna.get('/hub/spawn');
    await until(() => test.spawner.count('Status') === before + 1);
    test.clock.pass(31_000);
    await anna.get('/hub/home');
    await until(() => test.spawner.count('Status') === before + 2);
    test.clock.pass(31_000);
    const bert = new Browser(test, '192.0.2.9');
    await bert.logIn('bert', 'right');
    await bert.get('/hub/home', { 'x-refresh': '1' });
    // Had that page called it, this one would find it called just now.
    test.clock.pass(29_000);
    await anna.get('/hub/home');
    await until(() => test.spawner.count('Status') === before + 3);
    const asked = test.spawner.requests.filter(({ method }) => method === 'Status');
    t.match(asked.at(-1), { params: { key: 'anna' } });
  },
);

t.test('that Jupyter is missing is told without waiting for the log', async (t) => {
  const { test, anna } = await openWithAnna(t);
  // A reader that is asked would be killed, and the page would say so.
  test.logs.isKilled = true;
  test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_JUPYTER_MISSING');
  await anna.submit('/hub/spawn');
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'failed'));
  const { body } = await anna.get('/hub/home');
  t.match(body, 'apt install jupyterlab');
  t.notMatch(body, 'could not be read');
});
