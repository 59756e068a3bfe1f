import type { Key, ServerName } from '@metalhub/base/names.js';
import { absentStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { type AnnasHub, openWithAnna, phaseOf } from '../testing/anna.js';
import { refuseStart } from '../testing/peers.js';
import { Browser, until } from '../testing/test-hub.js';

// Of the whole file, also when it is run by itself: half a minute is not enough on a busy machine.
t.setTimeout(600_000);

async function startAndWait({ test, anna }: Pick<AnnasHub, 'test' | 'anna'>): Promise<void> {
  await anna.submit('/hub/spawn');
  await until(() => phaseOf(test) === 'ready');
}

t.test('H09: many starts at once are one', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  const csrf = await anna.token('/hub/home');
  const answers = await Promise.all(Array.from({ length: 50 }, () => anna.post('/hub/spawn', { csrf, server: '' })));
  t.ok(answers.every(({ statusCode }) => statusCode === 303));
  await until(() => phase() === 'ready');
  t.equal(test.spawner.count('StartServer'), 1);
});

t.test('H09: a stop during a start wins, whatever the spawner answers first', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  let finish = (): void => undefined;
  test.spawner.onStart = (request, peer) =>
    new Promise((resolve, reject) => {
      finish = () => resolve(peer.run(request));
      setTimeout(() => reject(new Error('never')), 60_000).unref();
    });
  await anna.submit('/hub/spawn');
  await until(() => test.spawner.count('StartServer') === 1);
  const stopped = anna.submit('/hub/stop');
  await until(() => test.spawner.count('StopServer') === 1);
  finish();
  await stopped;
  await until(() => phase() === 'stopped');
  t.equal(test.spawner.units.size, 0, 'the unit that came after the stop was stopped too');
  t.equal(test.spawner.count('StopServer'), 2);
  t.equal(test.proxy.routes.size, 0);
});

t.test('H09: a start during a stop happens after it', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, anna, phase } = fixture;
  await startAndWait(fixture);
  test.spawner.onStop = () => new Promise((resolve) => setTimeout(resolve, 50));
  const csrf = await anna.token('/hub/home');
  const stopped = anna.post('/hub/stop', { csrf, server: '' });
  await until(() => phase() === 'stop');
  await anna.post('/hub/spawn', { csrf, server: '' });
  await stopped;
  await until(() => phase() === 'ready');
  t.equal(test.spawner.units.size, 1);
  t.equal(test.proxy.routes.size, 1);
  t.equal(test.spawner.count('StartServer'), 2);
});

t.test('a failed start shows the last lines and a hint until the next start', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  test.logs.lines = [
    { time_ms: 1, priority: 6, identifier: 'python3', message: 'from long ago' },
    {
      time_ms: test.clock.nowMs() + 1,
      priority: 3,
      identifier: 'python3',
      message: 'token=abcdefghijklmnop OSError: No space left on device',
    },
  ];
  test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_EXITED');
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'failed');
  for (const url of ['/hub/home', '/hub/spawn-pending/anna', '/hub/spawn']) {
    const { body } = await anna.get(url);
    t.match(body, 'The server ended before it was ready', url);
    t.match(body, 'token=[removed] OSError: No space left');
    t.match(body, 'The disk is full');
    t.notMatch(body, 'from long ago');
  }
  await test.stop();
  await test.start();
  t.match((await anna.get('/hub/home')).body, 'The disk is full', 'also after a restart');
  test.spawner.onStart = async (request, peer) => peer.run(request);
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready');
  t.notMatch((await anna.get('/hub/home')).body, 'The disk is full');
});

t.test(
  'R06: a reader of the log that is killed does not hide the failure, and is not taken for an empty log',
  async (t) => {
    const { test, anna, phase } = await openWithAnna(t);
    test.logs.isKilled = true;
    test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_EXITED');
    await anna.submit('/hub/spawn');
    await until(() => phase() === 'failed');
    const { body } = await anna.get('/hub/home');
    t.match(body, 'The server ended before it was ready');
    t.match(
      body,
      'The log could not be read to its end; the administrator can see it: journalctl -u jupyter-anna.service',
    );
    t.ok(
      test.logLines.some(
        ({ level, message }) => level === 'warning' && message === 'log of a server could not be read',
      ),
    );
  },
);

t.test('a server that ends by itself loses its route and tells why', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, anna, phase } = fixture;
  await startAndWait(fixture);
  const [unit] = test.spawner.units.values();
  if (unit === undefined) throw new Error('no unit');
  await until(() => test.spawner.watchers === 1);
  test.spawner.change({ ...unit, active_state: 'failed', result: 'oom-kill', exit_status: 9 });
  await until(() => phase() === 'failed' && test.proxy.routes.size === 0);
  t.match((await anna.get('/hub/home')).body, 'ran out of memory');
  await startAndWait(fixture);
});

t.test('a server that is shut down from within has not failed', async (t) => {
  const fixture = await openWithAnna(t);
  await startAndWait(fixture);
  const { test, phase } = fixture;
  const [unit] = test.spawner.units.values();
  if (unit === undefined) throw new Error('no unit');
  await until(() => test.spawner.watchers === 1);
  test.spawner.change({ ...unit, active_state: 'inactive', result: 'success', exit_status: 0 });
  await until(() => phase() === 'stopped');
});

t.test('the spawner is watched only while there is something to watch', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, anna, phase } = fixture;
  await until(() => test.context.servers.isSettled && test.spawner.watchers === 0);
  await startAndWait(fixture);
  await until(() => test.spawner.watchers === 1);
  await anna.submit('/hub/stop');
  t.equal(phase(), 'stopped');
  await until(() => test.spawner.watchers === 0);
});

t.test('R06: a spawner that is killed during a start is asked again with the same start id', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  let starts = 0;
  test.spawner.onStart = async (request, peer) => {
    if (++starts === 1) return await new Promise(() => undefined);
    return peer.run(request);
  };
  await anna.submit('/hub/spawn');
  await until(() => starts === 1);
  await test.spawner.crash();
  await test.spawner.open();
  await until(() => phase() === 'ready');
  const ids = test.spawner.requests
    .filter(({ method }) => method === 'StartServer')
    .map(({ params }) => (params as { start_id: string }).start_id);
  t.equal(ids.length, 2);
  t.equal(ids[0], ids[1]);
});

t.test('R06: a spawner that is killed during a stop, also that of a start, is asked again', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, anna, phase } = fixture;
  for (const isReady of [false, true]) {
    const before = test.spawner.count('StopServer');
    test.spawner.onStop = async () => {
      if (test.spawner.count('StopServer') === before + 1) await new Promise(() => undefined);
    };
    if (!isReady) test.spawner.onStart = () => new Promise(() => undefined);
    else test.spawner.onStart = async (request, peer) => peer.run(request);
    await anna.submit('/hub/spawn');
    await until(() => (isReady ? phase() === 'ready' : test.spawner.count('StartServer') === 1));
    const stopped = anna.submit('/hub/stop');
    await until(() => test.spawner.count('StopServer') === before + 1);
    await test.spawner.crash();
    await test.spawner.open();
    await stopped;
    t.equal(phase(), 'stopped', 'and not failed');
    t.equal(test.spawner.units.size, 0);
  }
});

t.test('R06: what happened while the spawner was away is seen afterwards', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, phase } = fixture;
  await startAndWait(fixture);
  await until(() => test.spawner.watchers === 1);
  await test.spawner.crash();
  test.spawner.units.clear();
  await test.spawner.open();
  // The route goes after the state, in a request of its own.
  await until(() => phase() === 'stopped' && test.proxy.routes.size === 0);
});

t.test('R06: a restart of the spawner is no warning, a spawner that stays away is one', async (t) => {
  const fixture = await openWithAnna(t);
  const { test } = fixture;
  await startAndWait(fixture);
  await until(() => test.spawner.watchers === 1);
  const said = () =>
    test.logLines
      .filter(({ message }) => message.startsWith('hub-spawner '))
      .map(({ level, message }) => [level, message]);
  await test.spawner.crash();
  await until(() => said().length === 1);
  await test.spawner.open();
  // The peer counts a watcher before the hub has read the list.
  await until(() => said().length === 2);
  const restart = [
    ['info', 'hub-spawner went away; trying again'],
    ['info', 'hub-spawner is back'],
  ];
  t.same(said(), restart);
  await test.spawner.crash();
  await until(() => said().length === 4);
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.same(said(), [...restart, restart[0], ['warning', 'hub-spawner does not come back; trying on']], 'said once');
  await test.spawner.open();
  await until(() => test.spawner.watchers === 1);
});

t.test('R06: a restarted hub adopts what runs, with the same token', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, anna, phase } = fixture;
  await startAndWait(fixture);
  const before = test.proxy.routes.get('/user/anna/');
  await test.stop();
  await test.start();
  t.equal(phase(), 'ready', 'at once, before the spawner has been asked');
  t.equal((await anna.get('/hub/home')).statusCode, 200, 'still logged in');
  await until(() => test.context.servers.isSettled);
  t.equal(phase(), 'ready');
  t.equal(test.spawner.count('StartServer'), 1);
  test.proxy.routes.clear();
  await test.context.routes.reconcile();
  t.same(test.proxy.routes.get('/user/anna/'), before);
});

t.test('R06: a hub that was killed during a start takes it up again', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  test.spawner.onStart = (request, peer) => {
    peer.change({
      ...absentStatus(request),
      active_state: 'activating',
      invocation_id: '9'.repeat(32),
      start_id: request.start_id,
      profile: 'default',
    });
    return new Promise(() => undefined);
  };
  await anna.submit('/hub/spawn');
  await until(() => test.spawner.units.size === 1);
  await test.stop();
  await test.start();
  await until(() => test.spawner.watchers === 1);
  t.equal(phase(), 'spawn');
  const [unit] = test.spawner.units.values();
  if (unit === undefined) throw new Error('no unit');
  test.spawner.change({ ...unit, active_state: 'active', started_at_ms: test.clock.nowMs() });
  await until(() => phase() === 'ready');
  t.equal(test.proxy.routes.get('/user/anna/')?.invocation_id, '9'.repeat(32));
});

t.test('a reboot leaves servers stopped, not failed', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, phase } = fixture;
  await startAndWait(fixture);
  await test.stop();
  test.spawner.units.clear();
  await test.start();
  await until(() => test.context.servers.isSettled && phase() === 'stopped');
  await until(() => test.proxy.routes.size === 0);
});

t.test('a unit of a user that the database does not know is left alone, and so is its route', async (t) => {
  const { test } = await openWithAnna(t);
  await test.stop();
  const lost = { key: 'zoe' as Key, server: '' as ServerName };
  test.spawner.change({
    ...absentStatus(lost),
    active_state: 'active',
    invocation_id: '7'.repeat(32),
    start_id: 'f'.repeat(32),
  });
  test.proxy.routes.set('/user/zoe/', {
    target: 'unix+http://x',
    auth: 'ticket',
    user: 'zoe',
    server: lost.server,
    invocation_id: '7'.repeat(32),
  });
  test.proxy.routes.set('/user/old/', {
    target: 'unix+http://x',
    auth: 'ticket',
    user: 'old',
    server: lost.server,
    invocation_id: '8'.repeat(32),
  });
  await test.start();
  await until(() => !test.proxy.routes.has('/user/old/'));
  t.ok(test.proxy.routes.has('/user/zoe/'));
  t.equal(test.spawner.count('StopServer'), 0);
  t.ok(test.logLines.some(({ level, fields }) => level === 'warning' && fields['unit'] === 'jupyter-zoe.service'));
});

t.test('A11: whoever gets the key of a running unit after the database was lost does not get the unit', async (t) => {
  const { test, anna, phase } = await openWithAnna(t);
  await test.stop();
  const lost = { key: 'anna' as Key, server: '' as ServerName };
  test.spawner.change({
    ...absentStatus(lost),
    active_state: 'active',
    invocation_id: '7'.repeat(32),
    start_id: 'f'.repeat(32),
  });
  await test.start();
  await until(() => test.context.servers.isSettled);
  t.not(phase(), 'ready');
  t.equal(
    (await anna.get(`/hub/ticket?path=/user/anna/&state=${'ab'.repeat(32)}`)).headers.location,
    '/hub/spawn?next=%2Fuser%2Fanna%2F',
  );
  t.equal(test.proxy.routes.size, 0);
  const unit = test.spawner.units.get('anna');
  if (unit === undefined) throw new Error('no unit');
  test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_IDENTITY');
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'failed');
  test.spawner.change({ ...unit, started_at_ms: 1 });
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(phase(), 'failed', 'also when something is seen of it later');
  test.spawner.onStart = async () => unit;
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready');
  t.match(test.proxy.routes.get('/user/anna/'), { invocation_id: '7'.repeat(32) }, 'the spawner says whose it is');
});

t.test('a proxy that lost everything gets it again', async (t) => {
  const fixture = await openWithAnna(t);
  const { test, anna } = fixture;
  await startAndWait(fixture);
  test.proxy.routes.clear();
  test.proxy.keys = [];
  test.proxy.pid = 200;
  const answer = await anna.get('/hub/user/anna/lab?x=1');
  t.match(
    answer,
    { statusCode: 303, headers: { location: '/user/anna/lab?x=1' } },
    'the visitor is the first to notice',
  );
  t.equal(test.proxy.routes.size, 1);
  t.equal(test.proxy.keys.length, 1);
  t.equal((await anna.get('/hub/user/anna/lab')).statusCode, 503, 'no circle when that is not what was wrong');
});

t.test('a restarted proxy gets all ended sessions in one request', async (t) => {
  const { test } = await openWithAnna(t);
  for (let count = 0; count < 3; count++) {
    const bert = new Browser(test);
    await bert.logIn('bert', 'right');
    await bert.submit('/hub/logout');
  }
  await until(() => test.proxy.revocations.length === 3);
  const before = test.proxy.revocations.splice(0);
  test.proxy.calls.length = 0;
  test.proxy.pid = 200;
  await test.context.routes.reconcile();
  t.equal(test.proxy.calls.filter((call) => call === 'POST /api/revocations').length, 1);
  const ids = (list: typeof before) => list.map(({ session_id }) => session_id).sort();
  t.same(ids(test.proxy.revocations), ids(before));
});
