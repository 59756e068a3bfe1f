import { absentStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { Browser, TestHub, until } from '../testing/test-hub.js';

t.setTimeout(600_000);

interface Fixture {
  test: TestHub;
  anna: Browser;
  phase: (name: string) => string | undefined;
}

async function makeFixture(t: { teardown: (end: () => Promise<void>) => void }, limit = 2): Promise<Fixture> {
  const test = await TestHub.open((test) => {
    test.pam.passwords.set('anna', 'right').set('bert', 'right');
    test.config = { ...test.config, server: { ...test.config.server, named_limit: limit } };
  });
  t.teardown(() => test.close());
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  const phase = (name: string) => test.context.servers.list().find((server) => server.name === name)?.state.phase;
  return { test, anna, phase };
}

t.test('a user makes named servers, each with a unit, a route and a token of its own, up to the limit', async (t) => {
  const { test, anna, phase } = await makeFixture(t);
  t.match((await anna.get('/hub/home')).body, 'Another server');
  t.match(await anna.submit('/hub/spawn', { server: 'gpu' }), {
    statusCode: 303,
    headers: { location: '/hub/spawn-pending/anna/gpu' },
  });
  await anna.submit('/hub/spawn');
  await until(() => phase('gpu') === 'ready' && phase('') === 'ready');
  t.same([...test.spawner.units.keys()].sort(), ['anna', 'anna:gpu']);
  t.same([...test.proxy.routes.keys()].sort(), ['/user/anna/', '/user/anna/gpu/']);
  const tokens = [...test.proxy.routes.values()].map(({ token }) => token);
  t.not(tokens[0], tokens[1]);
  await anna.submit('/hub/spawn', { server: 'second' });
  await until(() => phase('second') === 'ready');
  const third = await anna.submit('/hub/spawn', { server: 'third' });
  t.match(third, { statusCode: 409, body: /No more than 2 named servers/ });
  t.notMatch((await anna.get('/hub/home')).body, 'Another server');
  await anna.submit('/hub/stop', { server: 'gpu' });
  t.equal(phase('gpu'), 'stopped');
  t.equal(phase('second'), 'ready', 'the others go on');
  t.notOk(test.proxy.routes.has('/user/anna/gpu/'));
  await anna.submit('/hub/spawn', { server: 'gpu' });
  await until(() => phase('gpu') === 'ready');
});

t.test('many that are asked for at once are no more than the limit', async (t) => {
  const { test, anna, phase } = await makeFixture(t);
  await anna.submit('/hub/spawn');
  await anna.submit('/hub/stop');
  await until(() => phase('') === 'stopped' && test.spawner.units.size === 0);
  const { servers } = test.context;
  const [own] = servers.list();
  if (own === undefined) throw new Error('no server');
  const made = await Promise.allSettled(['a1', 'a2', 'a3', 'a4', 'a5'].map((name) => servers.startOwn(own.user, name)));
  const refusals = made.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  t.match(refusals, Array(3).fill({ code: 'MH_ERR_HUB_SERVER_LIMIT' }));
  await until(() => test.spawner.units.size === 2);
});

t.test('a stopped one is deleted, which makes room; one that runs and the one without a name are not', async (t) => {
  const { test, anna, phase } = await makeFixture(t, 1);
  await anna.submit('/hub/spawn', { server: 'gpu' });
  await until(() => phase('gpu') === 'ready');
  t.match(await anna.submit('/hub/delete', { server: 'gpu' }), {
    statusCode: 409,
    body: /The server must be stopped first/,
  });
  t.equal(phase('gpu'), 'ready');
  await anna.submit('/hub/stop', { server: 'gpu' });
  const bert = new Browser(test, '192.0.2.9');
  await bert.logIn('bert', 'right');
  t.equal((await bert.submit('/hub/delete', { server: 'gpu' })).statusCode, 404, 'nor by somebody else');
  t.match(await anna.submit('/hub/delete', { server: 'gpu' }), { statusCode: 303 });
  t.equal(phase('gpu'), undefined);
  t.equal((await anna.submit('/hub/delete')).statusCode, 400);
  await test.stop();
  await test.start();
  t.equal(phase('gpu'), undefined, 'for good');
  await anna.submit('/hub/spawn', { server: 'other' });
  await until(() => phase('other') === 'ready');
});

t.test('names that are none, or that hide a page of the user’s own server, are refused', async (t) => {
  const { test, anna } = await makeFixture(t);
  for (const server of ['lab', 'api', '../x', 'A', 'a b', 'x'.repeat(32)]) {
    t.match(
      await anna.submit('/hub/spawn', { server }),
      { statusCode: 400, body: /cannot be the name of a server/ },
      server,
    );
  }
  t.equal(test.spawner.count('StartServer'), 0);
});

t.test('with a limit of none nobody makes one, but those that are there can be used', async (t) => {
  const { test, anna, phase } = await makeFixture(t, 0);
  t.notMatch((await anna.get('/hub/home')).body, 'Another server');
  t.equal((await anna.submit('/hub/spawn', { server: 'gpu' })).statusCode, 409);
  // An administrator may.
  await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload: { user: 'anna', server: 'gpu' } });
  await until(() => phase('gpu') === 'ready');
  await anna.submit('/hub/stop', { server: 'gpu' });
  await anna.submit('/hub/spawn', { server: 'gpu' });
  await until(() => phase('gpu') === 'ready');
});

/** A writing that holds up all others until it is let go. */
function holdDatabase({ context }: TestHub): () => void {
  let letGo = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  void context.database.write(() => held);
  return letGo;
}

t.test('a server that is started while it is being deleted is known, and kept', async (t) => {
  const { test, anna, phase } = await makeFixture(t);
  await anna.submit('/hub/spawn', { server: 'gpu' });
  await until(() => phase('gpu') === 'ready');
  await test.admin.inject({
    method: 'POST',
    url: '/admin/servers/limit',
    payload: { user: 'anna', server: 'gpu', limits: { memory_max_bytes: 2 ** 33 }, for_sec: 3600 },
  });
  await anna.submit('/hub/stop', { server: 'gpu' });
  const csrf = await anna.token('/hub/home');
  const letGo = holdDatabase(test);
  const deleted = anna.post('/hub/delete', { csrf, server: 'gpu' });
  await until(() => phase('gpu') === undefined);
  const started = anna.post('/hub/spawn', { csrf, server: 'gpu' });
  await until(() => phase('gpu') === 'spawn');
  letGo();
  t.match([await deleted, await started], [{ statusCode: 303 }, { statusCode: 303 }]);
  await until(() => phase('gpu') === 'ready');
  await test.context.grants.look();
  t.equal(test.spawner.count('SetLimits'), 1, 'it has nothing of the one before it');
  await test.stop();
  await test.start();
  t.equal(phase('gpu'), 'ready', 'also for the next hub');
});

t.test('a server that cannot be deleted is still there', async (t) => {
  const { test, anna, phase } = await makeFixture(t);
  await anna.submit('/hub/spawn', { server: 'gpu' });
  await until(() => phase('gpu') === 'ready');
  await anna.submit('/hub/stop', { server: 'gpu' });
  const csrf = await anna.token('/hub/home');
  await test.context.database.execute('PRAGMA query_only = ON');
  t.equal((await anna.post('/hub/delete', { csrf, server: 'gpu' })).statusCode, 503);
  await test.context.database.execute('PRAGMA query_only = OFF');
  t.equal(phase('gpu'), 'stopped');
  await anna.post('/hub/spawn', { csrf, server: 'gpu' });
  await until(() => phase('gpu') === 'ready');
});

t.test('one that is deleted while its end is still looked into does not come back', async (t) => {
  const { test, anna, phase } = await makeFixture(t);
  await anna.submit('/hub/spawn', { server: 'gpu' });
  await until(() => phase('gpu') === 'ready' && test.spawner.watchers === 1);
  let letProxyAnswer = (): void => undefined;
  test.proxy.isBusy = new Promise((resolve) => {
    letProxyAnswer = resolve;
  });
  test.logs.lines = [{ time_ms: Date.now(), priority: 6, identifier: 'jupyter', message: 'bye' }];
  const server = test.context.servers.list().find(({ name }) => name === 'gpu');
  const unit = test.spawner.units.get('anna:gpu');
  if (unit === undefined) throw new Error('no unit');
  test.spawner.change({ ...absentStatus(unit), start_id: unit.start_id, active_state: 'failed', result: 'exit-code' });
  await until(() => phase('gpu') === 'failed');
  t.equal((await anna.submit('/hub/delete', { server: 'gpu' })).statusCode, 303);
  letProxyAnswer();
  await until(() => server?.state.phase === 'failed' && server.state.failure.log_lines.length > 0);
  await test.stop();
  await test.start();
  t.equal(phase('gpu'), undefined);
});
