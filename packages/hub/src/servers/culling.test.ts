import { parseConfig } from '@metalhub/config/load.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import t from 'tap';
import { Browser, DEFAULT_CONFIG, TestHub, until } from '../testing/test-hub.js';

t.setTimeout(600_000);

const PATH = '/user/anna/';

interface Fixture {
  test: TestHub;
  anna: Browser;
  phase: () => string | undefined;
  startedMs: number;
  /** What the server says of itself, as the spawner tells it. */
  say: (status: Partial<ServerStatus>) => Promise<void>;
}

/** Anna's server runs; it was used just when it started. */
async function makeFixture(
  t: { teardown: (end: () => Promise<void>) => void },
  server: string,
  profile = '',
): Promise<Fixture> {
  const test = await TestHub.open((test) => {
    test.pam.passwords.set('anna', 'right');
    const text = `${DEFAULT_CONFIG}\n[server]\n${server}\n[[profile]]\nname = "default"\n${profile}`;
    test.config = parseConfig([{ file: 'test.toml', text }]);
    test.spawner.onStart = async (request, peer) => {
      return peer.change({ ...peer.run(request), started_at_ms: test.clock.nowMs() });
    };
  });
  t.teardown(() => test.close());
  // It looks when it is told to, and not by itself in between.
  test.context.culler.close();
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  await anna.submit('/hub/spawn');
  const phase = () => test.context.servers.list()[0]?.state.phase;
  await until(() => phase() === 'ready' && test.context.servers.isSpawnerReachable === true);
  const startedMs = test.clock.nowMs();
  test.proxy.activity.set(PATH, startedMs);
  const say = async (status: Partial<ServerStatus>): Promise<void> => {
    const unit = test.spawner.units.get('anna');
    if (unit === undefined) throw new Error('no unit');
    test.spawner.change({ ...unit, ...status });
    await until(() => test.context.servers.list()[0]?.lastStatus?.busy === status.busy);
  };
  return { test, anna, phase, startedMs, say };
}

t.test('a server that nobody uses is stopped, and its page says why, also after a restart of the hub', async (t) => {
  const { test, anna, phase, startedMs } = await makeFixture(t, 'idle_timeout_sec = 7200');
  test.clock.pass(7_199_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  t.match((await anna.get('/hub/home')).body, /It will be stopped at .* unless it is used/);
  test.clock.pass(1000);
  await test.context.culler.look();
  t.equal(phase(), 'stopped');
  t.equal(test.spawner.count('StopServer'), 1);
  t.equal(test.proxy.routes.size, 0);
  const line = test.logLines.find(({ fields }) => fields['reason'] === 'idle');
  t.match(line, { level: 'notice', fields: { user: 'anna', unit: 'jupyter-anna.service', limitSec: 7200 } });
  await test.stop();
  await test.start();
  test.context.culler.close();
  const ended = new Date(startedMs + 7_200_000).toISOString().slice(0, 16);
  for (const url of ['/hub/home', '/hub/spawn']) {
    const { body } = await anna.get(url);
    t.match(body, 'because nobody had used it for 2 hours', url);
    t.match(body, ended.slice(0, 10));
  }
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready');
  await anna.submit('/hub/stop');
  t.notMatch((await anna.get('/hub/home')).body, 'nobody had used it', 'a stop of their own needs no reason');
});

t.test('one that is used, or at work with nobody looking, is not', async (t) => {
  const { test, phase, startedMs, say } = await makeFixture(t, 'idle_timeout_sec = 60');
  test.clock.pass(100_000);
  test.proxy.activity.set(PATH, startedMs + 50_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'used 50 s ago');
  await say({ busy: true });
  test.clock.pass(100_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'a kernel is at work');
  await say({ busy: false, idle_since_ms: test.clock.nowMs() - 59_000 });
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'a kernel was at work 59 s ago');
  test.clock.pass(1000);
  await test.context.culler.look();
  t.equal(phase(), 'stopped');
});

t.test('while the proxy cannot be asked nobody is taken for idle, but the age counts', async (t) => {
  const { test, phase } = await makeFixture(t, 'idle_timeout_sec = 60\nmax_age_sec = 600');
  test.proxy.isBroken = true;
  test.clock.pass(599_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  test.clock.pass(1000);
  await test.context.culler.look();
  t.equal(phase(), 'stopped');
});

t.test('R06: a hub that has just started stops nothing before the spawner says what is at work', async (t) => {
  const { test, phase, say } = await makeFixture(t, 'idle_timeout_sec = 60\nmax_age_sec = 600');
  await say({ busy: true });
  test.clock.pass(599_000);
  await test.stop();
  await test.spawner.crash();
  await test.start();
  test.context.culler.close();
  test.clock.pass(1000);
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  t.ok(test.proxy.routes.has(PATH));
  await test.spawner.open();
  await until(() => test.context.servers.isSettled);
  await test.context.culler.look();
  t.equal(phase(), 'stopped', 'then its age counts');
});

t.test('while the spawner is away nobody is taken for idle: a kernel may have begun since', async (t) => {
  const { test, phase, say } = await makeFixture(t, 'idle_timeout_sec = 60');
  await say({ busy: false, idle_since_ms: test.clock.nowMs() });
  const { servers } = test.context;
  await test.spawner.crash();
  await until(() => servers.isSpawnerReachable === false);
  test.clock.pass(60_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  await test.spawner.open();
  await until(() => servers.isSpawnerReachable === true);
  await test.context.culler.look();
  t.equal(phase(), 'stopped');
});

t.test('a server may run for so long, however much it is used; before the end its user is told', async (t) => {
  const { test, anna, phase, say } = await makeFixture(t, 'max_age_sec = 43200');
  await say({ busy: true });
  test.clock.pass(42_599_000);
  await test.context.culler.look();
  t.notMatch((await anna.get('/hub/home')).body, 'will be stopped');
  test.clock.pass(1000);
  await test.context.culler.look();
  t.match(
    (await anna.get('/hub/home')).body,
    /It will be stopped at .*, because servers run for 12 hours at most\. Save your/,
  );
  test.clock.pass(600_000);
  await test.context.culler.look();
  t.equal(phase(), 'stopped');
  t.match((await anna.get('/hub/spawn')).body, 'because servers run for 12 hours at most');
});

t.test('what a profile says wins, also that there is no limit', async (t) => {
  const { test, phase } = await makeFixture(t, 'idle_timeout_sec = 60\nmax_age_sec = 600', 'idle_timeout_sec = 0');
  test.clock.pass(599_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  test.config = parseConfig([{ file: 'test.toml', text: DEFAULT_CONFIG }]);
  test.clock.pass(99_000_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'a limit that is taken away holds for nobody');
});

t.test('a clock that is set makes nobody idle', async (t) => {
  const { test, phase } = await makeFixture(t, 'idle_timeout_sec = 7200\nmax_age_sec = 7200');
  test.clock.wallMs += 86_400_000;
  await test.context.culler.look();
  t.equal(phase(), 'ready');
});

t.test('a clock that is set back ends no server that is used, or was at work, or is new', async (t) => {
  const { test, anna, phase, say } = await makeFixture(t, 'idle_timeout_sec = 3600\nmax_age_sec = 7000');
  test.clock.wallMs -= 7_200_000;
  test.clock.pass(3_601_000);
  test.proxy.activity.set(PATH, test.clock.nowMs());
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'used just now');
  await say({ busy: true });
  test.clock.pass(3_000_000);
  await say({ busy: false, idle_since_ms: test.clock.nowMs() });
  test.clock.pass(3_000_000);
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'a kernel was at work fifty minutes ago');
  await anna.submit('/hub/stop');
  await anna.submit('/hub/spawn');
  await until(() => phase() === 'ready' && test.context.servers.isSpawnerReachable === true);
  await test.context.culler.look();
  t.equal(phase(), 'ready', 'just started');
  test.proxy.activity.set(PATH, test.clock.nowMs());
  test.clock.pass(3_600_000);
  await test.context.culler.look();
  t.equal(phase(), 'stopped', 'who is idle still is');
});

t.test('the warning comes, and its time is right, by a clock that was set', async (t) => {
  for (const stepMs of [-7_200_000, 7_200_000]) {
    const { test, anna, phase } = await makeFixture(t, 'max_age_sec = 7200');
    test.clock.wallMs += stepMs;
    // Set back, it takes the start for so much later.
    test.clock.pass(6_599_000 + Math.max(0, -stepMs));
    await test.context.culler.look();
    t.notMatch((await anna.get('/hub/home')).body, 'will be stopped');
    test.clock.pass(1000);
    await test.context.culler.look();
    t.equal(phase(), 'ready');
    const ends = new Date(test.clock.nowMs() + 600_000).toISOString();
    t.match((await anna.get('/hub/home')).body, `It will be stopped at <time datetime="${ends}">`);
  }
});

t.test('a stop that fails is tried again', async (t) => {
  const { test, phase } = await makeFixture(t, 'max_age_sec = 60');
  test.clock.pass(60_000);
  let tries = 0;
  test.spawner.onStop = async () => {
    if (++tries === 1) throw new Error('not now');
  };
  await test.context.culler.look();
  t.equal(phase(), 'ready');
  await test.context.culler.look();
  t.equal(phase(), 'stopped');
});

t.test('who has run out of memory is told so while the server goes on', async (t) => {
  const { test, anna, phase, say } = await makeFixture(t, 'max_age_sec = 600');
  await say({ busy: false, idle_since_ms: test.clock.nowMs(), out_of_memory_ms: Date.UTC(2026, 0, 1, 10, 30) });
  t.equal(phase(), 'ready');
  t.match((await anna.get('/hub/home')).body, /was ended at <time datetime="2026-01-01T10:30:00.000Z">.*memory/s);
  await anna.submit('/hub/stop');
  t.notMatch((await anna.get('/hub/home')).body, 'was ended at');
});
