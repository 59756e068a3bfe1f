import { parseConfig } from '@metalhub/config/load.js';
import type { LightMyRequestResponse } from 'fastify';
import t from 'tap';
import { Browser, DEFAULT_CONFIG, TestHub, until } from './testing/test-hub.js';

const BASE = '/jupyter';
const STATE = 'ab'.repeat(32);

/** The configuration with a public address of this path. */
function withPath(path: string): TestHub['config'] {
  const text = `public_url = "http://localhost:8000${path}"\n${DEFAULT_CONFIG}`;
  return parseConfig([{ file: 'test.toml', text }]);
}

async function open(t: { teardown: (end: () => Promise<void>) => void }, path: string): Promise<TestHub> {
  const test = await TestHub.open((test) => {
    test.config = withPath(path);
    for (const name of ['anna', 'root-of-all']) test.pam.passwords.set(name, 'right');
  });
  t.teardown(() => test.close());
  return test;
}

/** Every address that an answer sends a browser to, or has it ask, and every path its cookies are for. */
function addressesIn({ headers, body, cookies }: LightMyRequestResponse): string[] {
  const attributes = /\b(?:href|src|action|formaction|data-[a-z-]*url)="([^"]*)"/g;
  const events = /"url":"([^"]*)"/g;
  const inPage = [attributes, events].flatMap((pattern) => [...body.matchAll(pattern)].map(([, found = '']) => found));
  const location = typeof headers.location === 'string' ? [headers.location] : [];
  const nexts = [...`${location.join()} ${body}`.matchAll(/[?&]next=([^&"\s]*)/g)].map(([, next = '']) =>
    decodeURIComponent(next),
  );
  return [...inPage, ...location, ...nexts, ...cookies.map(({ path = '/' }) => path)].filter((found) => found !== '');
}

t.test('with a base, nothing of the hub leads out of it', async (t) => {
  const test = await open(t, `${BASE}/`);
  const visitor = new Browser(test);
  const anna = new Browser(test);
  const seen: string[] = [];
  const look = (answer: LightMyRequestResponse, what: string, status: number): void => {
    const found = addressesIn(answer);
    t.equal(answer.statusCode, status, what);
    t.same(
      found.filter((address) => !address.startsWith(`${BASE}/`)),
      [],
      what,
    );
    seen.push(...found);
  };
  const get = async (browser: Browser, url: string, status: number): Promise<void> =>
    look(await browser.get(url), `GET ${url}`, status);

  for (const path of ['', '/', '/hub/', '/user/anna/lab?x=1']) await get(visitor, `${BASE}${path}`, 302);
  await get(visitor, `${BASE}/hub`, 301);
  await get(visitor, `${BASE}/hub/home`, 303);
  await get(visitor, `${BASE}/hub/login`, 200);
  await get(visitor, `${BASE}/hub/login?next=/hub/home`, 200);
  await get(visitor, `${BASE}/hub/nothing`, 404);
  await get(visitor, `${BASE}/hub/static/a.css`, 200);
  await get(visitor, `${BASE}/hub/ticket?path=${BASE}/user/anna/&state=${STATE}&next=${BASE}/user/anna/lab`, 303);
  look(await visitor.logIn('anna', 'wrong'), 'a wrong password', 403);
  for (const next of ['/hub/home', '/admin', '//evil', `${BASE}/../admin`, '/user/anna/', '']) {
    const answer = await new Browser(test).logIn('anna', 'right', next);
    look(answer, `login with next=${next}`, 303);
    t.equal(answer.headers.location, `${BASE}/hub/home`);
  }
  t.equal(
    (await new Browser(test).logIn('anna', 'right', `${BASE}/user/anna/lab`)).headers.location,
    `${BASE}/user/anna/lab`,
  );
  await anna.logIn('anna', 'right');
  for (const path of ['/hub/home', '/hub/spawn', '/hub/spawn?next=/user/anna/lab', '/hub/logout'])
    await get(anna, `${BASE}${path}`, 200);
  await get(anna, `${BASE}/hub/user/anna/lab?x=1`, 303);
  await get(anna, `${BASE}/hub/ticket?path=${BASE}/user/anna/&state=${STATE}`, 303);
  await get(anna, `${BASE}/hub/spawn-pending/anna`, 200);

  let finish: () => void = () => undefined;
  const start = test.spawner.onStart;
  test.spawner.onStart = async (...args) => {
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    return await start(...args);
  };
  look(await anna.submit('/hub/spawn', { next: '/user/anna/lab' }), 'a start', 303);
  await get(anna, `${BASE}/hub/spawn-pending/anna`, 200);
  await until(() => test.spawner.count('StartServer') === 1);
  finish();
  await until(() => test.proxy.routes.size === 1);
  t.same([...test.proxy.routes.keys()], [`${BASE}/user/anna/`], 'the route is below it');
  t.match(test.spawner.requests.find(({ method }) => method === 'StartServer')?.params, {
    base_url: `${BASE}/user/anna/`,
  });
  await until(async () => (await anna.get(`${BASE}/hub/spawn-pending/anna`)).statusCode === 303);
  await get(anna, `${BASE}/hub/spawn-pending/anna?next=${BASE}/user/anna/tree`, 303);
  await get(anna, `${BASE}/hub/home`, 200);
  await get(anna, `${BASE}/hub/spawn`, 303);
  await get(anna, `${BASE}/hub/api/users/anna/server/progress`, 200);
  await get(anna, `${BASE}/hub/ticket?path=${BASE}/user/anna/&state=${STATE}&next=${BASE}/user/anna/lab`, 303);
  t.equal((await anna.get(`${BASE}/hub/user/anna/lab`)).headers.location, `${BASE}/user/anna/lab`);
  const { servers } = (await test.admin.inject('/admin/servers')).json() as { servers: { url: string }[] };
  t.same(
    servers.map(({ url }) => url),
    [`http://localhost:8000${BASE}/user/anna/`],
  );
  look(await anna.submit('/hub/stop'), 'a stop', 303);
  look(await anna.submit('/hub/logout'), 'the logout', 303);
  t.ok(seen.length > 100, `${seen.length} addresses were looked at`);
  t.ok(seen.includes(`${BASE}/hub/`), 'cookies are for the hub alone');
});

t.test('what lies outside the base is nothing of ours', async (t) => {
  const test = await open(t, BASE);
  const visitor = new Browser(test);
  for (const url of [
    '/',
    '/hub/login',
    '/hub/home',
    '/user/anna/',
    '/hub/api',
    '/jupyterx/hub/login',
    '/hub/static/a.css',
  ])
    t.equal((await visitor.get(url)).statusCode, 404, url);
  t.equal((await visitor.post('/hub/login', { username: 'anna', password: 'right' })).statusCode, 404);
  const { headers, statusCode } = await visitor.get(`${BASE}/hub/api`, { accept: 'application/json' });
  t.match({ headers, statusCode }, { statusCode: 200, headers: { 'x-jupyterhub-version': /metalhub/ } });
  t.match((await visitor.get(`${BASE}/hub/api/nothing`)).json(), { status: 404 });
  t.equal((await visitor.get(`${BASE}/hub/health`)).statusCode, 200);
});

t.test('a server keeps the address it was started with when the base changes', async (t) => {
  const test = await open(t, '');
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  await anna.submit('/hub/spawn');
  await until(() => test.proxy.routes.has('/user/anna/'));
  await until(() => test.context.servers.list().every(({ state }) => state.phase === 'ready'));
  for (const isRestarted of [false, true]) {
    test.config = withPath(BASE);
    if (isRestarted) {
      await test.stop();
      await test.start();
      await until(() => test.context.servers.isSettled);
    }
    await test.context.routes.reconcile();
    t.same([...test.proxy.routes.keys()], ['/user/anna/'], 'its route stays');
    t.match((await anna.get(`${BASE}/hub/home`)).body, 'href="/user/anna/"', 'its owner finds it');
    t.equal((await anna.get(`${BASE}/hub/user/anna/lab`)).headers.location, '/user/anna/', 'also from its new address');
    const asked = await anna.get(`${BASE}/hub/ticket?path=/user/anna/&state=${STATE}&next=/user/anna/lab`);
    t.match(asked.headers.location, /^\/user\/anna\/\.metalhub\/ticket\?code=/, 'and is let in');
    t.equal((await anna.get(`${BASE}/hub/ticket?path=${BASE}/user/anna/&state=${STATE}`)).statusCode, 403);
    const { servers } = (await test.admin.inject('/admin/servers')).json() as { servers: { url: string }[] };
    t.equal(servers[0]?.url, 'http://localhost:8000/user/anna/');
  }
  await anna.submit('/hub/stop');
  await until(() => test.proxy.routes.size === 0);
  await anna.submit('/hub/spawn');
  await until(() => test.proxy.routes.has(`${BASE}/user/anna/`));
  t.equal(test.proxy.routes.size, 1, 'the next start is below the new base');
});

t.test('a server that runs below an earlier base keeps its address when the database is lost, too', async (t) => {
  const test = await open(t, '');
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  await anna.submit('/hub/spawn');
  await until(() => test.proxy.routes.has('/user/anna/'));
  await test.stop();
  test.loseDatabase();
  test.config = withPath(BASE);
  await test.start();
  const again = new Browser(test);
  await again.logIn('anna', 'right');
  await again.submit('/hub/spawn');
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
  t.same([...test.proxy.routes.keys()], ['/user/anna/'], 'the unit says where it serves');
  await test.stop();
  await test.start();
  await until(() => test.context.servers.isSettled);
  t.same(test.context.servers.list()[0]?.path, '/user/anna/', 'and the database knows it again');
});

t.test('R06: where a server turns out to serve is stored also by a hub restarted in the middle', async (t) => {
  const test = await open(t, BASE);
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  const { onStart } = test.spawner;
  test.spawner.onStart = async (request, peer) => {
    peer.units.set('anna', { ...peer.run(request), base: '' });
    return await new Promise(() => undefined);
  };
  await anna.submit('/hub/spawn');
  await until(() => test.spawner.units.get('anna')?.base === '');
  test.spawner.onStart = onStart;
  for (const which of ['the next hub', 'the one after it']) {
    await test.stop();
    await test.start();
    await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
    t.same(test.context.servers.list()[0]?.path, '/user/anna/', which);
  }
});
