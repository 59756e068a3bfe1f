import t from 'tap';
import { Browser, TestHub, until } from '../testing/test-hub.js';

interface Fixture {
  test: TestHub;
  anna: Browser;
}

async function makeFixture(t: { teardown: (end: () => Promise<void>) => void }): Promise<Fixture> {
  const test = await TestHub.open((test) => {
    for (const name of ['anna', 'bert', 'root-of-all']) test.pam.passwords.set(name, 'right');
  });
  t.teardown(() => test.close());
  const anna = new Browser(test);
  await anna.logIn('anna', 'right');
  return { test, anna };
}

async function startAndWait({ test, anna }: Fixture): Promise<void> {
  await anna.submit('/hub/spawn');
  await until(() => test.context.servers.list().some(({ state }) => state.phase === 'ready'));
}

t.test('nobody opens, starts or watches the server of somebody else', async (t) => {
  const fixture = await makeFixture(t);
  const { test } = fixture;
  await startAndWait(fixture);
  const bert = new Browser(test);
  await bert.logIn('bert', 'right');
  const admin = new Browser(test);
  await admin.logIn('root-of-all', 'right');
  const state = 'ab'.repeat(32);
  for (const browser of [bert, admin]) {
    t.equal((await browser.get(`/hub/ticket?path=/user/anna/&state=${state}`)).statusCode, 403);
    t.equal((await browser.get('/hub/user/anna/lab')).statusCode, 403);
    t.equal((await browser.get('/hub/spawn-pending/anna')).statusCode, 404);
  }
  const known = await bert.get(`/hub/ticket?path=/user/anna/&state=${state}`);
  const unknown = await bert.get(`/hub/ticket?path=/user/nobody/&state=${state}`);
  const plain = (body: string): string => body.replace(/<code>[^<]*<\/code>/g, '');
  t.equal(plain(known.body), plain(unknown.body), 'nor learns who has one');
  t.equal((await bert.get('/hub/api/users/anna/server/progress')).statusCode, 403);
  t.equal((await admin.get('/hub/api/users/anna/server/progress')).statusCode, 200, 'administrators may look on');
  t.equal((await new Browser(test).get('/hub/api/users/anna/server/progress')).statusCode, 403);
});

t.test('a ticket is given for the exact path of a server only', async (t) => {
  const fixture = await makeFixture(t);
  const { anna } = fixture;
  await startAndWait(fixture);
  const state = 'ab'.repeat(32);
  for (const path of [
    '/user/anna',
    '/user/anna/lab/',
    '/user/%61nna/',
    '/user/',
    '/',
    '/user/anna/../bert/',
    '//user/anna/',
    '/hub/',
  ]) {
    t.equal((await anna.get(`/hub/ticket?path=${encodeURIComponent(path)}&state=${state}`)).statusCode, 403, path);
  }
  for (const query of [
    '',
    'path=/user/anna/',
    `path=/user/anna/&state=x`,
    `path=/user/anna/&state=${state}&x=1`,
    `path=/user/anna/&path=/x/&state=${state}`,
  ]) {
    t.equal((await anna.get(`/hub/ticket?${query}`)).statusCode, 400, query);
  }
});

t.test('a ticket is renewed while its login lasts', async (t) => {
  const fixture = await makeFixture(t);
  const { test, anna } = fixture;
  await startAndWait(fixture);
  const answer = await anna.get(
    `/hub/ticket?path=/user/anna/&state=${'ab'.repeat(32)}&next=${encodeURIComponent('/user/bert/')}`,
  );
  const code = new URL(String(answer.headers.location), 'http://x').searchParams.get('code') ?? '';
  const claims = JSON.parse(Buffer.from(code.split('.')[1] ?? '', 'base64url').toString()) as {
    ticket: string;
    next?: string;
    exp: number;
    iat: number;
  };
  t.equal(claims.next, undefined, 'what is not below the path is dropped');
  t.equal(claims.exp - claims.iat, 60);
  const renew = (ticket: string, headers: Record<string, string> = { 'x-metalhub-proxy': '1' }) =>
    test.app.inject({ method: 'POST', url: '/hub/internal/ticket-renew', payload: { ticket }, headers });
  test.clock.pass(6 * 3_600_000);
  const renewed = await renew(claims.ticket);
  t.equal(renewed.statusCode, 200);
  const fresh = renewed.json<{ ticket: string }>().ticket;
  t.match(JSON.parse(Buffer.from(fresh.split('.')[1] ?? '', 'base64url').toString()), {
    type: 'ticket',
    user: 'anna',
    path: '/user/anna/',
    exp: Math.floor(test.clock.nowMs() / 1000) + 12 * 3600,
  });
  t.equal((await renew(claims.ticket, {})).statusCode, 404, 'for the proxy only');
  t.equal((await renew(code)).statusCode, 403, 'a code is no ticket');
  t.equal((await renew(`${claims.ticket.slice(0, -4)}AAAA`)).statusCode, 403);
  test.clock.pass(7 * 3_600_000);
  t.equal((await renew(claims.ticket)).statusCode, 403, 'expired');
  t.equal((await renew(fresh)).statusCode, 200);
  await anna.submit('/hub/logout');
  t.equal((await renew(fresh)).statusCode, 403, 'logged out');
});

t.test('requests without a route are asked for the login, offered a start, or told in JSON', async (t) => {
  const { test, anna } = await makeFixture(t);
  t.match(await anna.get('/user/anna/lab?x=1'), { statusCode: 302, headers: { location: '/hub/user/anna/lab?x=1' } });
  t.match(await anna.get('/hub/user/anna/lab?x=1'), {
    statusCode: 303,
    headers: { location: '/hub/spawn?next=%2Fuser%2Fanna%2Flab%3Fx%3D1' },
  });
  t.match(await new Browser(test).get('/hub/user/anna/lab'), {
    statusCode: 303,
    headers: { location: '/hub/login?next=%2Fuser%2Fanna%2Flab' },
  });
  const api = await anna.get('/hub/user/anna/api/status', { accept: 'application/json' });
  t.equal(api.statusCode, 424);
  t.match(api.json(), { message: /no longer running/ });
  t.equal((await test.app.inject({ method: 'POST', url: '/user/anna/api/kernels' })).statusCode, 424);
  t.match((await anna.get('/hub/spawn?next=/user/anna/lab')).body, '/user/anna/lab');
});
