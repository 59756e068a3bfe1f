import { absentStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { type AnnasHub, openWithAnna } from '../testing/anna.js';
import { type Browser, until } from '../testing/test-hub.js';

t.setTimeout(600_000);

/** Anna's server runs, and the proxy does not answer until `letProxyAnswer` is called. */
async function makeFixture(t: {
  teardown: (end: () => Promise<void>) => void;
}): Promise<AnnasHub & { letProxyAnswer: () => void }> {
  const { test, anna, phase } = await openWithAnna(t);
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready' && test.spawner.watchers === 1);
  let letProxyAnswer = (): void => undefined;
  test.proxy.isBusy = new Promise((resolve) => {
    letProxyAnswer = resolve;
  });
  return { test, anna, phase, letProxyAnswer };
}

/** What the stream of a start says last. */
async function lastEvent(anna: Browser): Promise<unknown> {
  const { body } = await anna.get('/hub/api/users/anna/server/progress', { accept: 'text/event-stream' });
  const lines = body.split('\n').filter((line) => line.startsWith('data: '));
  return JSON.parse(lines.at(-1)?.slice('data: '.length) ?? 'null');
}

for (const [how, end] of [
  ['ended', { active_state: 'inactive', result: 'success', exit_status: 0 }],
  ['failed', { active_state: 'failed', result: 'exit-code', exit_status: 1 }],
] as const) {
  t.test(`a start is not taken for cancelled while the proxy still drops the route of one that ${how}`, async (t) => {
    const { test, anna, phase, letProxyAnswer } = await makeFixture(t);
    const [unit] = test.spawner.units.values();
    if (unit === undefined) throw new Error('no unit');
    test.spawner.change({ ...absentStatus(unit), start_id: unit.start_id, ...end });
    await until(() => phase() === 'stopped' || phase() === 'failed');
    await anna.submit('/hub/spawn');
    t.equal(phase(), 'spawn');
    const told = lastEvent(anna);
    // The stream is open before the proxy answers.
    await until(() => test.spawner.count('StartServer') === 2);
    letProxyAnswer();
    t.match(await told, { ready: true, url: '/user/anna/' });
    t.equal(phase(), 'ready');
    t.match(await anna.get('/hub/home'), { statusCode: 200, body: /Running/ });
    t.ok(test.proxy.routes.has('/user/anna/'));
  });
}
