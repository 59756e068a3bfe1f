import { once } from 'node:events';
import { get, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { Listener } from './listener.js';
import { refuseStart } from './testing/peers.js';
import { Browser, TestHub, until } from './testing/test-hub.js';

async function openTest(t: { teardown: (end: () => Promise<void>) => void }): Promise<TestHub> {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'right'));
  t.teardown(() => test.close());
  await new Browser(test).logIn('anna', 'right');
  return test;
}

function lines(body: string): Record<string, unknown>[] {
  return body
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

t.test('an administrator starts and stops a server and looks at everything', async (t) => {
  const test = await openTest(t);
  const started = await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload: { user: 'anna' } });
  t.equal(started.statusCode, 200);
  const steps = lines(started.body);
  t.same(
    steps.map(({ stage }) => stage),
    ['requested', 'account', 'home', 'unit', 'waiting', 'route', 'ready'],
  );
  t.match(steps.at(-1), { ready: true, progress: 100, url: '/user/anna/' });
  t.match((await test.admin.inject('/admin/status')).json(), {
    version: '1.2.3',
    pid: process.pid,
    users: 1,
    servers: { ready: 1, pending: 0, failed: 0 },
    logins_allowed: true,
    proxy: { reachable: true, status: { pid: 100 } },
    spawner: { reachable: true },
  });
  t.match((await test.admin.inject('/admin/users')).json(), {
    users: [
      { name: 'anna', method: 'pam', key: 'anna', admin: false, server: { state: 'ready', started_at: /^\d{4}-/ } },
    ],
  });
  t.match((await test.admin.inject('/admin/servers')).json(), {
    servers: [
      {
        user: 'anna',
        key: 'anna',
        name: '',
        state: 'ready',
        url: 'http://localhost:8000/user/anna/',
        unit: 'jupyter-anna.service',
        failure: null,
      },
    ],
  });
  const routes = (await test.admin.inject('/admin/routes')).body;
  t.match(JSON.parse(routes), { '/user/anna/': { auth: 'ticket', user: 'anna' } });
  t.notMatch(routes, test.proxy.routes.get('/user/anna/')?.token ?? 'no token');
  const again = lines(
    (await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload: { user: 'anna' } })).body,
  );
  t.match(again, [{ ready: true }], 'one that runs is ready at once');
  const stopped = await test.admin.inject({ method: 'POST', url: '/admin/servers/stop', payload: { user: 'anna' } });
  t.match(stopped.json(), { state: 'stopped' });
  t.equal(test.spawner.units.size, 0);
});

t.test('who asks for what may take minutes hears at once that somebody is at work', async (t) => {
  const test = await openTest(t);
  const socketPath = join(test.directory, 'admin.sock');
  const listener = await Listener.open(test.admin.server, { path: socketPath });
  t.teardown(() => listener.drain(1000));
  for (const action of ['start', 'stop']) {
    const headers = { 'content-type': 'application/json' };
    const sent = request({ socketPath, method: 'POST', path: `/admin/servers/${action}`, headers });
    const heard = once(sent, 'information');
    const answered = once(sent, 'response');
    sent.end('{"user":"anna"}');
    t.match(await heard, [{ statusCode: 102 }], action);
    const [response] = (await answered) as [IncomingMessage];
    t.equal(response.statusCode, 200);
    await once(response.resume(), 'end');
  }
});

t.test('a start that fails ends its stream with code, message and hint', async (t) => {
  const test = await openTest(t);
  test.spawner.onStart = async () => refuseStart('MH_ERR_SPAWN_EXITED');
  test.logs.lines = [
    { time_ms: test.clock.nowMs(), priority: 3, identifier: 'x', message: "No module named 'jupyterlab'" },
  ];
  const { body } = await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload: { user: 'anna' } });
  t.match(lines(body).at(-1), {
    failed: true,
    code: 'MH_ERR_SPAWN_EXITED',
    hint: /apt install jupyterlab/,
    failure: { logLines: ["No module named 'jupyterlab'"] },
  });
  t.match((await test.admin.inject('/admin/servers')).json(), {
    servers: [{ state: 'failed', failure: { code: 'MH_ERR_SPAWN_EXITED' } }],
  });
});

t.test('a named server has a path and a token of its own', async (t) => {
  const test = await openTest(t);
  const payload = { user: 'anna', server: 'gpu-1' };
  t.match(lines((await test.admin.inject({ method: 'POST', url: '/admin/servers/start', payload })).body).at(-1), {
    ready: true,
    url: '/user/anna/gpu-1/',
  });
  t.match(test.proxy.routes.get('/user/anna/gpu-1/'), { server: 'gpu-1', target: /anna%3Agpu-1\.sock$/ });
  const browser = new Browser(test);
  await browser.logIn('anna', 'right');
  t.match((await browser.get('/hub/home')).body, 'gpu-1');
  const ticket = await browser.get(`/hub/ticket?path=/user/anna/gpu-1/&state=${'ab'.repeat(32)}`);
  t.match(ticket.headers.location, '/user/anna/gpu-1/.metalhub/ticket?code=');
  t.equal((await browser.submit('/hub/spawn', { server: 'other' })).statusCode, 409, 'a user makes none');
});

t.test('wrong requests are refused with what is wrong', async (t) => {
  const test = await openTest(t);
  const post = async (url: string, payload: object) => {
    const answer = await test.admin.inject({ method: 'POST', url, payload });
    return [answer.statusCode, answer.json<{ code: string }>().code];
  };
  t.same(await post('/admin/servers/start', { user: 'nobody' }), [404, 'MH_ERR_HUB_NO_SUCH_USER']);
  t.same(await post('/admin/servers/start', { user: 'anna', server: '../x' }), [400, 'MH_ERR_SPAWN_NAME']);
  t.same(await post('/admin/servers/start', { user: 'anna', profile: 'none' }), [400, 'MH_ERR_SPAWN_PROFILE']);
  t.same(await post('/admin/servers/start', { user: 'anna', command: 'x' }), [400, 'MH_ERR_HUB_BAD_REQUEST']);
  t.same(await post('/admin/servers/stop', { user: 'anna', server: 'none' }), [404, 'MH_ERR_HUB_NO_SUCH_SERVER']);
  t.equal((await test.admin.inject('/admin/logs?user=anna&lines=99999')).statusCode, 400);
  t.match((await test.admin.inject('/admin/nothing')).json(), { code: 'MH_ERR_HUB_NOT_FOUND' });
});

t.test('logs come as lines, without what looks secret', async (t) => {
  const test = await openTest(t);
  test.logs.lines = [
    { time_ms: 1, priority: 6, identifier: 'python3', message: 'http://x/?token=abcdefgh1234 started' },
  ];
  const { body } = await test.admin.inject('/admin/logs?user=anna&lines=5');
  t.same(lines(body), [
    { time_ms: 1, priority: 6, identifier: 'python3', message: 'http://x/?token=[removed] started' },
  ]);
  t.match(test.logs.queries, [{ key: 'anna', server: '', lines: 5, invocation_id: null }]);
});

t.test('logs that are not read wait where they are, and come whole later', async (t) => {
  const test = await openTest(t);
  const line = { time_ms: 1, priority: 6, identifier: 'python3', message: 'x'.repeat(4000) };
  test.logs.lines = Array.from({ length: 5000 }, () => line);
  const socketPath = join(test.directory, 'admin.sock');
  const listener = await Listener.open(test.admin.server, { path: socketPath });
  t.teardown(() => listener.drain(0));
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ socketPath, agent: false, path: '/admin/logs?user=anna&lines=5000' }, resolve).on('error', reject);
  });
  let before = -1;
  await until(async () => {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const isStill = test.logs.emitted === before;
    before = test.logs.emitted;
    return isStill;
  });
  t.ok(before > 0 && before < 3000, `${before} of 5000 lines were sent`);
  let size = 0;
  for await (const chunk of answer) size += (chunk as Buffer).length;
  t.equal(test.logs.emitted, 5000);
  t.equal(size, 5000 * (JSON.stringify(line).length + 1));
});

t.test('the status says when the proxy is away, and that nobody may log in', async (t) => {
  const test = await openTest(t);
  test.proxy.isBroken = true;
  test.config = { ...test.config, login: [] };
  await until(() => test.context.servers.isSpawnerReachable === null);
  t.match((await test.admin.inject('/admin/status')).json(), {
    logins_allowed: false,
    proxy: { reachable: false, error: /proxy cannot be reached/ },
    spawner: { reachable: null },
  });
});
