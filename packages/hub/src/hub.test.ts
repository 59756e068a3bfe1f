import t from 'tap';
import { Browser, TestHub, until } from './testing/test-hub.js';

t.test('a user', async (t) => {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'correct horse'));
  t.teardown(() => test.close());
  const browser = new Browser(test);

  await t.test('is asked for a password, and gets home after giving it', async (t) => {
    t.equal((await browser.get('/')).headers.location, '/hub/');
    t.equal((await browser.get('/hub/')).headers.location, '/hub/login');
    t.equal((await browser.get('/hub/home')).headers.location, '/hub/login?next=%2Fhub%2Fhome');
    const answer = await browser.logIn('anna', 'correct horse');
    t.equal(answer.statusCode, 303);
    t.equal(answer.headers.location, '/hub/home');
    const cookie = answer.cookies.find(({ name }) => name === 'metalhub-session');
    t.match(cookie, { path: '/hub/', httpOnly: true, sameSite: 'Lax', maxAge: 1_209_600 });
    t.notOk(cookie?.secure);
    t.match((await browser.get('/hub/home')).body, 'anna');
  });

  await t.test('starts a server and is let in with a ticket', async (t) => {
    const started = await browser.submit('/hub/spawn');
    t.equal(started.statusCode, 303);
    t.equal(started.headers.location, '/hub/spawn-pending/anna');
    await until(async () => (await browser.get('/hub/spawn-pending/anna')).statusCode === 303);
    t.equal((await browser.get('/hub/spawn-pending/anna')).headers.location, '/user/anna/');
    const route = test.proxy.routes.get('/user/anna/');
    t.match(route, {
      target: 'unix+http://%2Frun%2Fmetalhub%2Fservers%2Fanna.sock',
      auth: 'ticket',
      user: 'anna',
      server: '',
      token: /^[A-Za-z0-9_-]{43}$/,
    });
    const state = 'ab'.repeat(32);
    const asked = await browser.get(`/hub/ticket?path=/user/anna/&state=${state}&next=/user/anna/lab%3Fx=1`);
    t.equal(asked.statusCode, 303);
    t.match(asked.headers.location, /^\/user\/anna\/\.metalhub\/ticket\?code=[\w.-]+$/);
    t.equal(test.proxy.keys.length, 1, 'the proxy has the key to check it with');
  });

  await t.test('stops it, and its route is gone', async (t) => {
    t.equal((await browser.submit('/hub/stop')).headers.location, '/hub/home');
    t.equal(test.proxy.routes.size, 0);
    t.equal(test.spawner.units.size, 0);
    const asked = await browser.get(`/hub/ticket?path=/user/anna/&state=${'ab'.repeat(32)}`);
    t.equal(asked.headers.location, '/hub/spawn?next=%2Fuser%2Fanna%2F');
  });

  await t.test('logs out, and the proxy learns of it', async (t) => {
    const before = browser.cookies.get('metalhub-session') ?? '';
    t.equal((await browser.submit('/hub/logout')).headers.location, '/hub/login?notice=logged-out');
    await until(() => test.proxy.revocations.length === 1);
    t.equal(test.proxy.revocations[0]?.session_id, before.split('.')[0]);
    browser.cookies.set('metalhub-session', before);
    t.equal((await browser.get('/hub/home')).statusCode, 303, 'the old cookie is worth nothing');
  });
});
