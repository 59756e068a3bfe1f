import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '@metalhub/config/load.js';
import t from 'tap';
import { AddressRanges } from './address-ranges.js';
import { createControlApi, createForeignApi } from './control-api.js';
import type { RouteRules } from './route-api.js';
import { makeSettings } from './settings.js';
import { StateStore } from './state-store.js';
import { Supervisor } from './supervisor.js';
import { TestClock, TestLog } from './testing/proxy.js';

const TOKEN = 'a-token-of-the-other-hub';

/** Both APIs over one store; there are no workers to tell. */
function setUp(t: { teardown(end: () => Promise<void>): void }, changes: Partial<RouteRules> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'route-api-'));
  const log = new TestLog();
  const clock = new TestClock();
  const store = StateStore.open(join(directory, 'state.json'), log);
  const allowed = {
    hubSocketPath: '/run/metalhub/hub.sock',
    serversDirectory: '/run/metalhub/servers',
    ranges: new AddressRanges(['127.0.0.0/8', '::1/128']),
  };
  const rules: RouteRules = { allowed, hubPrefix: '/', hasForeignHub: true, hostRouting: false, ...changes };
  const supervisor = new Supervisor(
    { workerProgram: '', generationDirectory: directory, listenFds: [], clock, log, state: store },
    {
      settings: makeSettings(parseConfig([]), allowed.hubSocketPath, null),
      maxGenerations: 2,
      workers: 1,
      maxMemoryBytes: 2 ** 30,
    },
  );
  const parts = { store, supervisor, rules: () => rules, log, clock, version: '0.0.0' };
  const [control, foreign] = [createControlApi(parts), createForeignApi(parts, TOKEN)];
  t.teardown(async () => {
    await Promise.all([control.close(), foreign.close()]);
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const send = (app: typeof control, headers: Record<string, string>) => {
    return async (method: 'GET' | 'POST' | 'DELETE' | 'PUT' | 'PATCH', url: string, body?: unknown, more = {}) => {
      const payload = body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) };
      const answer = await app.inject({ method, url, headers: { ...headers, ...more }, ...payload });
      return { status: answer.statusCode, text: answer.body, headers: answer.headers };
    };
  };
  return {
    directory,
    store,
    clock,
    log,
    foreignApp: foreign,
    /** As tornado sends it: with a type that says nothing. */
    chp: send(foreign, { authorization: `token ${TOKEN}`, 'content-type': 'application/x-www-form-urlencoded' }),
    control: send(control, { 'content-type': 'application/json' }),
    plain: send(foreign, {}),
  };
}

const ANNAS = { target: 'http://127.0.0.1:40001', jupyterhub: true, user: 'anna', server_name: '' };
const OURS = {
  target: 'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock',
  auth: 'ticket',
  user: 'anna',
  server: '',
};

t.test('what configurable-http-proxy answers, this one does', async (t) => {
  const { chp } = setUp(t);
  t.match(await chp('GET', '/api/routes'), { status: 200, text: '{}' });
  t.match(await chp('POST', '/api/routes/user/anna', ANNAS), { status: 201, text: '' });
  t.match(await chp('POST', '/api/routes/', { target: 'http://127.0.0.1:8081', jupyterhub: true, hub: true }), {
    status: 201,
  });
  t.match(await chp('POST', '/api/routes', { target: 'http://127.0.0.1:8082', jupyterhub: true, hub: true }), {
    status: 201,
  });
  const listed = await chp('GET', '/api/routes');
  const routes = JSON.parse(listed.text);
  t.same(Object.keys(routes).sort(), ['/', '/user/anna']);
  const { last_activity, ...data } = routes['/user/anna'];
  t.same(data, ANNAS, 'all fields come back');
  t.match(last_activity, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.equal(routes['/'].target, 'http://127.0.0.1:8082', 'a route is replaced');
  t.same(JSON.parse((await chp('GET', '/api/routes/')).text), routes);
  t.match(JSON.parse((await chp('GET', '/api/routes/user/anna')).text), ANNAS);
  t.match(await chp('GET', '/api/routes/user/bert'), { status: 404, text: '' });
  t.match(await chp('DELETE', '/api/routes/user/anna'), { status: 204, text: '' });
  t.match(await chp('DELETE', '/api/routes/user/anna'), { status: 404, text: '' });
  t.match(await chp('DELETE', '/api/routes/'), { status: 204 });
  t.match(await chp('GET', '/api/routes'), { status: 200, text: '{}' });
  for (const method of ['PUT', 'PATCH'] as const) t.match(await chp(method, '/api/routes/x', {}), { status: 405 });
  t.match(await chp('GET', '/api/status'), { status: 404 });
  t.match(await chp('POST', '/api/revocations', { revocations: [] }), { status: 404 });
});

t.test('bodies that are no route are refused', async (t) => {
  const { chp } = setUp(t);
  const deep = `{"target":"http://127.0.0.1:1","x":${'['.repeat(3000)}${']'.repeat(3000)}}`;
  const bodies = ['', '{', '[]', '"x"', '{}', '{"target":1}', deep, { target: '' }, { target: 'ftp://127.0.0.1' }];
  for (const body of bodies) t.equal((await chp('POST', '/api/routes/x', body)).status, 400, JSON.stringify(body));
  t.match((await chp('POST', '/api/routes/x', {})).text, "Must specify 'target' as string");
  t.equal((await chp('POST', '/api/routes/x', { ...ANNAS, x: 'x'.repeat(5000) })).status, 400);
  t.equal((await chp('POST', '/api/routes/x', { ...ANNAS, x: 'x'.repeat(70_000) })).status, 413);
  t.equal((await chp('POST', '/api/routes/a/%2e%2e%2fb', ANNAS)).status, 400);
  t.match(await chp('GET', '/api/routes'), { text: '{}' });
});

t.test('B8: targets by TCP lie in the configured ranges, and mean one address only', async (t) => {
  const { chp } = setUp(t);
  const refused = [
    'http://10.0.0.1:80',
    'http://169.254.169.254/',
    'http://127.1:80',
    'http://0x7f.1:80',
    'http://2130706433:80',
    'http://127.0.0.1.:80',
    'http://user@127.0.0.1:80',
    'http://127.0.0.1:80?x',
    'http://127.0.0.1:80#x',
    'http://127.0.0.1:80/../x',
    'http://127.0.0.1:0',
    'http://127.0.0.1:65536',
    'http://[::2]:80',
    'http://[::ffff:10.0.0.1]:80',
    'unix+http://%2Frun%2Fmetalhub%2Fspawner.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fhub.sock',
  ];
  for (const target of refused) t.equal((await chp('POST', '/api/routes/x', { target })).status, 400, target);
  const taken = [
    'http://127.0.0.1:80',
    'HTTP://LocalHost:80',
    'https://127.0.0.1',
    'http://[::1]:1',
    'http://127.9.9.9:5/base/',
    'http+unix://%2Frun%2Fmetalhub%2Fservers%2Fx.sock',
    'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fx.sock',
  ];
  for (const target of taken) {
    t.equal((await chp('POST', '/api/routes/x', { target })).status, 201, target);
    t.equal(JSON.parse((await chp('GET', '/api/routes/x')).text).target, target, 'as it was given');
  }
});

t.test('inactive_since leaves out what was used later', async (t) => {
  const { chp, clock } = setUp(t);
  await chp('POST', '/api/routes/old', ANNAS);
  clock.offsetMs += 60_000;
  await chp('POST', '/api/routes/new', ANNAS);
  const between = new Date(clock.nowMs() - 30_000).toISOString();
  for (const name of ['inactive_since', 'inactiveSince']) {
    t.same(Object.keys(JSON.parse((await chp('GET', `/api/routes?${name}=${between}`)).text)), ['/old'], name);
  }
  t.equal((await chp('GET', '/api/routes?inactive_since=yesterday')).status, 400);
});

t.test('names come back decoded, as JupyterHub quotes them again', async (t) => {
  const { chp } = setUp(t);
  for (const path of ['user/anna%20b', 'user/anna@x', 'user/%C3%BC']) await chp('POST', `/api/routes/${path}`, ANNAS);
  t.same(Object.keys(JSON.parse((await chp('GET', '/api/routes')).text)), ['/user/anna b', '/user/anna@x', '/user/ü']);
  t.match(await chp('DELETE', '/api/routes/user/%C3%BC'), { status: 204 });
});

t.test('with host routing the first segment is the host', async (t) => {
  const { chp, store } = setUp(t, { hostRouting: true });
  t.equal((await chp('POST', '/api/routes/Anna.Example.org/user/anna', ANNAS)).status, 201);
  t.equal((await chp('POST', '/api/routes/', { target: 'http://127.0.0.1:8081' })).status, 201);
  t.equal((await chp('POST', '/api/routes/a%2fb/user/anna', ANNAS)).status, 400);
  t.same(
    [...store.live.routes()].map(({ host, prefix }) => [host, prefix]),
    [
      ['anna.example.org', '/user/anna/'],
      [null, '/'],
    ],
  );
  t.same(Object.keys(JSON.parse((await chp('GET', '/api/routes')).text)), ['/anna.example.org/user/anna', '/']);
  t.equal((await chp('DELETE', '/api/routes/anna.example.org/user/anna')).status, 204);
});

t.test('two hubs do not see, replace or remove each other’s routes', async (t) => {
  const { chp, control } = setUp(t);
  t.equal((await control('POST', '/api/routes/user/anna', OURS)).status, 201);
  t.match(await chp('GET', '/api/routes'), { text: '{}' });
  t.equal((await chp('GET', '/api/routes/user/anna')).status, 404);
  t.equal((await chp('DELETE', '/api/routes/user/anna')).status, 404);
  t.equal((await chp('POST', '/api/routes/user/anna', ANNAS)).status, 201);
  t.match(JSON.parse((await control('GET', '/api/routes?exact=1')).text), {
    '/user/anna/': { auth: 'ticket', owner: 'hub' },
  });
  t.equal((await control('DELETE', '/api/routes/user/anna/')).status, 204);
  t.match(JSON.parse((await control('GET', '/api/routes?exact=1')).text), {
    '/user/anna/': { owner: 'other', user: null },
  });
  t.equal((await chp('DELETE', '/api/routes/user/anna')).status, 204);
});

t.test('where / is ours, another hub cannot have it, nor a place that we have', async (t) => {
  const { chp, control } = setUp(t, { hasForeignHub: false });
  await control('POST', '/api/routes/user/anna', OURS);
  for (const path of ['/api/routes', '/api/routes/', '/api/routes/user/anna']) {
    t.equal((await chp('POST', path, ANNAS)).status, 400, path);
  }
  t.equal((await chp('DELETE', '/api/routes/')).status, 400);
  t.equal((await chp('POST', '/api/routes/services/x', ANNAS)).status, 201);
});

t.test('with a base the place of our hub is there, and the root is free', async (t) => {
  const { chp, control } = setUp(t, { hasForeignHub: false, hubPrefix: '/jupyter/' });
  for (const path of ['/api/routes/jupyter', '/api/routes/jupyter/'])
    t.equal((await chp('POST', path, ANNAS)).status, 400, path);
  t.equal((await chp('DELETE', '/api/routes/jupyter')).status, 400);
  t.equal((await chp('POST', '/api/routes/', ANNAS)).status, 201);
  t.same(Object.keys(JSON.parse((await control('GET', '/api/routes?exact=1')).text)).toSorted(), ['/', '/jupyter/']);
  t.equal((await chp('DELETE', '/api/routes/')).status, 204);
});

t.test('B8: whoever looked at an older state changes nothing', async (t) => {
  const { control } = setUp(t, { hasForeignHub: false });
  const seen = String((await control('GET', '/api/routes?exact=1')).headers['etag']);
  await control('POST', '/api/routes/user/anna', OURS);
  const changes = { put: [{ prefix: '/user/bert/', route: { ...OURS, user: 'bert' } }], remove: ['/user/anna/'] };
  t.equal((await control('PATCH', '/api/routes', changes, { 'if-match': seen })).status, 412);
  t.equal((await control('DELETE', '/api/routes/user/anna', undefined, { 'if-match': seen })).status, 412);
  const now = String((await control('GET', '/api/routes?exact=1')).headers['etag']);
  const done = await control('PATCH', '/api/routes', changes, { 'if-match': now });
  t.equal(done.status, 204);
  t.same(Object.keys(JSON.parse((await control('GET', '/api/routes?exact=1')).text)), ['/', '/user/bert/']);
  t.equal(
    (await control('PATCH', '/api/routes', { put: [], remove: [] }, { 'if-match': String(done.headers['etag']) }))
      .status,
    204,
  );
});

t.test('B8 R07: a removal with the right version counts although the disk is full', async (t) => {
  const { control, store, directory } = setUp(t, { hasForeignHub: false });
  await control('POST', '/api/routes/user/anna', OURS);
  const now = String((await control('GET', '/api/routes?exact=1')).headers['etag']);
  rmSync(directory, { recursive: true });
  t.equal((await control('DELETE', '/api/routes/user/anna', undefined, { 'if-match': now })).status, 503);
  t.equal(store.live.routeCount, 0);
  t.equal((await control('DELETE', '/api/routes/user/anna', undefined, { 'if-match': now })).status, 412);
  mkdirSync(directory);
  t.equal((await control('POST', '/api/routes/user/anna', OURS)).status, 201, 'it goes on');
});

t.test('without the right token nothing is read', async (t) => {
  const { foreignApp, plain, chp, log } = setUp(t);
  for (const authorization of [
    undefined,
    `token ${TOKEN}x`,
    `Token ${TOKEN}`,
    `Bearer ${TOKEN}`,
    TOKEN,
    'token ',
    '',
  ]) {
    const headers = authorization === undefined ? {} : { authorization };
    t.match(await plain('GET', '/api/routes', undefined, headers), { status: 403, text: '' }, String(authorization));
  }
  t.equal((await chp('GET', '/api/routes')).status, 200);
  t.notMatch(JSON.stringify(log.lines), TOKEN);
  await foreignApp.listen({ port: 0, host: '127.0.0.1' });
  const { port } = foreignApp.server.address() as AddressInfo;
  const answer = await new Promise<string>((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => {
      // A body that never comes: the answer does not wait for it.
      socket.write(
        'POST /api/routes/x HTTP/1.1\r\nHost: x\r\nAuthorization: token no\r\nContent-Length: 60000\r\n\r\n',
      );
    });
    socket.on('data', (chunk) => (text += chunk));
    socket.on('close', () => resolve(text));
  });
  t.match(answer, /^HTTP\/1\.1 403 /);
  t.match(answer, /connection: close/i);
});

t.test('metrics are on both, on TCP for whoever has the token, and count what the API is asked', async (t) => {
  const { chp, control, plain } = setUp(t);
  t.equal((await plain('GET', '/metrics')).status, 403);
  t.equal((await chp('POST', '/api/routes/user/anna', ANNAS)).status, 201);
  await chp('GET', '/api/routes');
  await control('DELETE', '/api/routes/user/nobody');
  for (const send of [chp, control]) {
    const { status, text, headers } = await send('GET', '/metrics');
    t.equal(status, 200);
    t.match(headers['content-type'], 'text/plain; version=0.0.4');
    t.match(text, '\napi_route_get 1\n');
    t.match(text, '\napi_route_add 1\n');
    t.match(text, '\napi_route_delete 1\n');
    t.match(text, '\nrequests_api{status="403"} 1\n');
    t.match(text, '\nmetalhub_proxy_routes 2\n');
    t.notMatch(text, /anna|nobody|a-token/);
  }
});
