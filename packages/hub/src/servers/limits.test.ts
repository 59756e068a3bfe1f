import { MetalhubError } from '@metalhub/base/errors.js';
import type { LightMyRequestResponse } from 'fastify';
import t from 'tap';
import { Browser, TestHub, until } from '../testing/test-hub.js';

t.setTimeout(600_000);

interface Fixture {
  test: TestHub;
  anna: Browser;
  phase: () => string | undefined;
  post: (path: string, body: object) => Promise<LightMyRequestResponse>;
  /** What the spawner was told, oldest first. */
  told: () => unknown[];
}

/** Anna's server runs. */
async function makeFixture(t: { teardown: (end: () => Promise<void>) => void }): Promise<Fixture> {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'right'));
  t.teardown(() => test.close());
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  await anna.submit('/hub/spawn');
  const phase = () => test.context.servers.list()[0]?.state.phase;
  await until(() => phase() === 'ready' && test.spawner.watchers === 1);
  return {
    test,
    anna,
    phase,
    post: (path, body) =>
      test.admin.inject({ method: 'POST', url: `/admin/servers/${path}`, payload: { user: 'anna', ...body } }),
    told: () =>
      test.spawner.requests
        .filter(({ method }) => method === 'SetLimits')
        .map(({ params }) => (params as { limits: unknown }).limits),
  };
}

const limits = { memory_max_bytes: 2 ** 33 };

t.test('limits for a time are given, shown, and given back when it is over', async (t) => {
  const { test, post, told } = await makeFixture(t);
  const given = await post('limit', { limits, for_sec: 7200 });
  t.equal(given.statusCode, 200);
  const until = new Date(test.clock.nowMs() + 7_200_000).toISOString();
  t.match(given.json(), { limits: { ...limits, until } });
  t.same(told(), [limits]);
  test.clock.pass(7_199_000);
  await test.context.grants.look();
  t.same(told(), [limits]);
  test.clock.pass(1000);
  await test.context.grants.look();
  t.same(told(), [limits, {}]);
  t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ limits: null }] });
});

t.test('R06: a hub that is killed meanwhile gives them back all the same', async (t) => {
  const { test, post, told } = await makeFixture(t);
  await post('limit', { limits, for_sec: 60 });
  await test.stop();
  test.clock.pass(61_000);
  await test.start();
  await until(() => test.context.servers.isSettled);
  await test.context.grants.look();
  t.same(told(), [limits, {}]);
});

t.test('R08: limits given after the clock was set are shown and given back by it, also by the next hub', async (t) => {
  for (const stepMs of [28_800_000, -28_800_000]) {
    const { test, post, told } = await makeFixture(t);
    test.clock.wallMs += stepMs;
    const untilTime = new Date(test.clock.nowMs() + 7_200_000).toISOString();
    t.match((await post('limit', { limits, for_sec: 7200 })).json(), { limits: { until: untilTime } });
    await test.stop();
    test.clock.pass(7_199_000);
    await test.start();
    t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ limits: { until: untilTime } }] });
    await until(() => test.context.servers.isSettled);
    await test.context.grants.look();
    t.same(told(), [limits]);
    test.clock.pass(1000);
    await test.context.grants.look();
    t.same(told(), [limits, {}]);
  }
});

t.test('while the spawner is away giving back is tried on, and complained of once', async (t) => {
  const { test, post, told } = await makeFixture(t);
  await post('limit', { limits, for_sec: 60 });
  test.clock.pass(61_000);
  test.spawner.onLimits = async () => {
    throw new MetalhubError('MH_ERR_SYSTEMD_UNAVAILABLE', { details: { reason: 'test' } });
  };
  for (let count = 0; count < 3; count++) await test.context.grants.look();
  const complaints = () => test.logLines.filter(({ message }) => message.startsWith('limits of a server could not'));
  t.equal(complaints().length, 1);
  test.spawner.onLimits = async () => undefined;
  await test.context.grants.look();
  t.same(told().at(-1), {});
  const before = told().length;
  await test.context.grants.look();
  t.equal(told().length, before, 'once');
});

t.test('within their time they hold for a later start, after a reboot too', async (t) => {
  const { test, anna, post, phase, told } = await makeFixture(t);
  await post('limit', { limits, for_sec: 3600 });
  await test.stop();
  test.spawner.units.clear();
  await test.start();
  await until(() => phase() === 'stopped');
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready');
  await test.context.grants.look();
  t.same(told(), [limits, limits]);
  test.clock.pass(3_600_000);
  await test.context.grants.look();
  t.same(told(), [limits, limits, {}]);
});

t.test('limits that are refused change nothing; given back on demand they are gone', async (t) => {
  const { test, post, told } = await makeFixture(t);
  await post('limit', { limits, for_sec: null });
  test.spawner.onLimits = async () => {
    throw new MetalhubError('MH_ERR_SPAWN_LIMIT', { details: { name: 'memory', wanted: '9G', ceiling: '8G' } });
  };
  const refused = await post('limit', { limits: { memory_max_bytes: 2 ** 40 }, for_sec: null });
  t.match(refused, { statusCode: 400 });
  t.match(refused.json(), { code: 'MH_ERR_SPAWN_LIMIT', message: /9G is more than the 8G/ });
  t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ limits: { ...limits, until: null } }] });
  test.spawner.onLimits = async () => undefined;
  t.match((await post('limit', { limits: null, for_sec: null })).json(), { limits: null });
  t.same(told().at(-1), {});
  for (const bad of [{ memory_max_bytes: 1 }, { memory_max_bytes: null }, { swap: 1 }, { cpu_quota_percent: 0 }]) {
    t.equal((await post('limit', { limits: bad, for_sec: null })).statusCode, 400, JSON.stringify(bad));
  }
});

t.test('what waits for the next start of a server is taken back before it', async (t) => {
  const { test, anna, post, phase, told } = await makeFixture(t);
  await post('limit', { limits, for_sec: 3600 });
  await anna.submit('/hub/stop');
  t.match(await post('limit', { limits: null, for_sec: null }), { statusCode: 200 });
  t.match((await post('limit', { limits: null, for_sec: null })).json(), { code: 'MH_ERR_SPAWN_NOT_RUNNING' }, 'once');
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready');
  await test.context.grants.look();
  t.same(told(), [limits]);
});

t.test(
  'limits above a ceiling that was lowered meanwhile are not tried on a later start again and again',
  async (t) => {
    const { test, anna, post, phase, told } = await makeFixture(t);
    await post('limit', { limits, for_sec: 3600 });
    await anna.submit('/hub/stop');
    test.spawner.onLimits = async () => {
      throw new MetalhubError('MH_ERR_SPAWN_LIMIT', { details: { name: 'memory', wanted: '8G', ceiling: '4G' } });
    };
    await anna.submit('/hub/spawn');
    await until(() => phase() === 'ready');
    for (let count = 0; count < 3; count++) await test.context.grants.look();
    t.same(told(), [limits, limits]);
    t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ limits: null }] });
    const [line] = test.logLines.filter(({ message }) => message.startsWith('limits are not given'));
    t.match(line, { level: 'warning', fields: { user: 'anna', err: { code: 'MH_ERR_SPAWN_LIMIT' } } });
  },
);

t.test('R06: limits that may have been set before the answer was lost are given back in time', async (t) => {
  const { test, post, told } = await makeFixture(t);
  test.spawner.onLimits = async () => {
    throw new MetalhubError('MH_ERR_SYSTEMD_UNAVAILABLE', { details: { reason: 'test' } });
  };
  t.not((await post('limit', { limits, for_sec: 60 })).statusCode, 200);
  t.match((await test.admin.inject('/admin/servers')).json(), { servers: [{ limits }] }, 'and shown');
  test.spawner.onLimits = async () => undefined;
  test.clock.pass(60_000);
  await test.context.grants.look();
  t.same(told(), [limits, {}]);
});

t.test('a server that does not run has no limits to change, and nothing to freeze', async (t) => {
  const { test, anna, post } = await makeFixture(t);
  await anna.submit('/hub/stop');
  t.match((await post('limit', { limits, for_sec: null })).json(), { code: 'MH_ERR_SPAWN_NOT_RUNNING' });
  t.match((await post('freeze', {})).json(), { code: 'MH_ERR_SPAWN_NOT_RUNNING' });
  t.equal(test.spawner.count('SetLimits'), 0);
});

t.test('a frozen server has no way to it, its pages say why, and it is nobody’s idle server', async (t) => {
  const { test, anna, post, phase } = await makeFixture(t);
  t.match((await post('freeze', {})).json(), { frozen: true, state: 'ready' });
  await until(() => test.proxy.routes.size === 0);
  const page = await anna.get('/hub/user/anna/lab');
  t.equal(page.statusCode, 423);
  t.match(page.body, 'Your server is paused by an administrator');
  t.equal((await anna.get('/hub/user/anna/api/status', { accept: 'application/json' })).statusCode, 423);
  t.match((await anna.get('/hub/home')).body, /Paused[\s\S]*An administrator has paused it/);
  test.config = { ...test.config, server: { ...test.config.server, idle_timeout_sec: 60 } };
  test.clock.pass(3_600_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  await test.stop();
  await test.start();
  await until(() => test.context.servers.list()[0]?.isFrozen === true);
  await test.context.routes.reconcile();
  t.equal(test.proxy.routes.size, 0, 'also for the next hub');
  t.match((await post('thaw', {})).json(), { frozen: false });
  await until(() => test.proxy.routes.size === 1);
});
