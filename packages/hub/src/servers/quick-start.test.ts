import t from 'tap';
import { refuseStart } from '../testing/peers.js';
import { Browser, TestHub, until } from '../testing/test-hub.js';

async function openTest(t: {
  teardown: (end: () => Promise<void>) => void;
}): Promise<{ test: TestHub; anna: Browser }> {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'right'));
  t.teardown(() => test.close());
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  return { test, anna };
}

t.test('who looks at a Start button has the spawner called ahead, once in a while', async (t) => {
  const { test, anna } = await openTest(t);
  await until(() => test.spawner.watchers === 0);
  const before = test.spawner.count('Status');
  await anna.get('/hub/home');
  await anna.get('/hub/spawn');
  await until(() => test.spawner.count('Status') === before + 1);
  test.clock.pass(31_000);
  await anna.get('/hub/home');
  await until(() => test.spawner.count('Status') === before + 2);
});

t.test('that Jupyter is missing is told without waiting for the log', async (t) => {
  const { test, anna } = await openTest(t);
  // A reader that is asked would be killed, and the page would say so.
  test.logs.isKilled = true;
  test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_JUPYTER_MISSING');
  await anna.submit('/hub/spawn');
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'failed'));
  const { body } = await anna.get('/hub/home');
  t.match(body, 'apt install jupyterlab');
  t.notMatch(body, 'could not be read');
});
