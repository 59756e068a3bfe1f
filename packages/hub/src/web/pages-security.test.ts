import t from 'tap';
import { Browser, TestHub, until } from '../testing/test-hub.js';

async function openTest(
  t: { teardown: (end: () => Promise<void>) => void },
  names: string[] = ['anna', 'bert'],
): Promise<TestHub> {
  const test = await TestHub.open((test) => {
    for (const name of names) test.pam.passwords.set(name, 'right');
  });
  t.teardown(() => test.close());
  return test;
}

async function logIn(test: TestHub, name: string): Promise<Browser> {
  const browser = new Browser(test);
  await browser.logIn(name, 'right');
  return browser;
}

t.test('every page is protected against framing, sniffing, foreign scripts and caches', async (t) => {
  const test = await openTest(t);
  const browser = await logIn(test, 'anna');
  for (const url of [
    '/hub/login',
    '/hub/home',
    '/hub/spawn',
    '/hub/nothing',
    '/hub/%zz',
    '/',
    '/hub/logout',
    '/hub/api/nothing',
  ]) {
    const { headers } = await browser.get(url);
    const policy = String(headers['content-security-policy']);
    t.match(policy, "default-src 'none'", url);
    t.match(policy, "frame-ancestors 'none'");
    t.notMatch(policy, /unsafe|\*/);
    t.match(headers, { 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'cache-control': 'no-store' });
  }
});

t.test(
  'a page that refuses somebody says who they are and lets them log out; to others it leads to the login',
  async (t) => {
    const test = await openTest(t);
    const anna = await logIn(test, 'anna');
    for (const [url, status] of [
      ['/hub/user/bert/lab', 403],
      [`/hub/ticket?path=/user/bert/&state=${'ab'.repeat(32)}`, 403],
      ['/hub/nothing', 404],
    ] as const) {
      const { statusCode, body } = await anna.get(url);
      t.equal(statusCode, status, url);
      t.match(body, '<bdi>anna</bdi>');
      t.match(body, 'href="/hub/home"');
      const csrf = /action="\/hub\/logout"><input type="hidden" name="csrf" value="([^"]+)"/.exec(body)?.[1];
      t.equal(csrf, await anna.token('/hub/home'));
    }
    const { body } = await new Browser(test).get('/hub/nothing');
    t.notMatch(body, '/hub/logout');
    t.match(body, 'href="/hub/home"');
    await test.context.database.execute('ALTER TABLE sessions RENAME TO away');
    t.equal((await anna.get('/hub/nothing')).statusCode, 404, 'also when the database cannot be asked');
  },
);

t.test('H01: a login goes to a page of this site only', async (t) => {
  const test = await openTest(t);
  for (const next of ['//evil', '/\\evil', 'https://evil', '/..//evil', 'javascript:alert(1)']) {
    const browser = new Browser(test);
    t.equal((await browser.logIn('anna', 'right', next)).headers.location, '/hub/home', next);
    t.equal((await browser.get(`/hub/login?next=${encodeURIComponent(next)}`)).headers.location, '/hub/home');
  }
  const browser = new Browser(test);
  t.equal((await browser.logIn('anna', 'right', '/user/anna/lab?x=1')).headers.location, '/user/anna/lab?x=1');
  const forged = await browser.get('/hub/', { host: 'evil.example', 'x-forwarded-host': 'evil.example' });
  t.equal(forged.headers.location, '/hub/home', 'the Host header makes no address');
});

t.test('H02: nobody is logged in by a page of somebody else', async (t) => {
  const test = await openTest(t);
  const victim = new Browser(test);
  const attacker = new Browser(test);
  const csrf = await attacker.token('/hub/login');
  const fields = { username: 'bert', password: 'right', next: '', csrf };
  t.equal(
    (await victim.post('/hub/login', fields, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }))
      .statusCode,
    403,
  );
  t.equal((await victim.post('/hub/login', fields)).statusCode, 403, 'a token of another browser');
  await victim.get('/hub/login');
  t.equal((await victim.post('/hub/login', fields)).statusCode, 403);
  t.notOk(victim.cookies.has('metalhub-session'));
  t.same(test.pam.attempts, []);
  await victim.get('/hub/login?token=abc');
  t.notOk(victim.cookies.has('metalhub-session'));
});

t.test('H03: nothing changes without the token of the session', async (t) => {
  const test = await openTest(t);
  const anna = await logIn(test, 'anna');
  const bert = await logIn(test, 'bert');
  const stale = await logIn(test, 'anna');
  const oldToken = await stale.token('/hub/home');
  await stale.submit('/hub/logout');
  const tokens = ['', 'nonsense', await bert.token('/hub/home'), oldToken];
  for (const url of ['/hub/spawn', '/hub/stop', '/hub/logout']) {
    for (const csrf of tokens) {
      for (const mode of ['no-cors', 'navigate', 'cors', 'websocket']) {
        t.equal((await anna.post(url, { csrf, server: '' }, { 'sec-fetch-mode': mode })).statusCode, 403);
      }
    }
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/json',
      'application/octet-stream',
    ]) {
      const payload = type === 'application/json' ? { csrf: 'x' } : 'csrf=x';
      const answer = await test.app.inject({
        method: 'POST',
        url,
        payload,
        headers: { ...anna.headers, 'content-type': type },
      });
      t.equal(answer.statusCode, 403, `${url} ${type}`);
    }
    t.equal((await test.app.inject({ method: 'POST', url, headers: anna.headers })).statusCode, 403, 'no body at all');
    const good = { csrf: await anna.token('/hub/home'), server: '' };
    t.equal((await anna.post(url, good, { 'sec-fetch-site': 'same-site' })).statusCode, 403, 'a sibling domain');
    t.equal((await anna.post(url, good, { origin: 'null' })).statusCode, 403);
  }
  t.equal((await anna.get('/hub/home')).statusCode, 200, 'still logged in');
  t.equal(test.spawner.count('StartServer'), 0);
});

t.test('H03: reading changes nothing', async (t) => {
  const test = await openTest(t);
  const browser = await logIn(test, 'anna');
  for (const url of [
    '/hub/spawn',
    '/hub/stop',
    '/hub/logout',
    '/hub/spawn?server=',
    '/hub/spawn-pending/anna',
    '/hub/user/anna/',
    '/hub/home',
  ]) {
    await browser.get(url);
  }
  t.equal((await browser.get('/hub/home')).statusCode, 200);
  t.equal(test.spawner.count('StartServer') + test.spawner.count('StopServer'), 0);
});

t.test('H04: a planted session cookie is noticed and never preferred', async (t) => {
  const test = await openTest(t);
  const anna = await logIn(test, 'anna');
  const bert = await logIn(test, 'bert');
  const own = `metalhub-session=${anna.cookies.get('metalhub-session')}`;
  const planted = `metalhub-session=${bert.cookies.get('metalhub-session')}`;
  const ask = (cookie: string) =>
    test.app.inject({ method: 'GET', url: '/hub/home', headers: { accept: 'text/html', cookie } });
  t.equal((await ask(`${planted}; ${own}`)).statusCode, 303, 'two that count: nobody is logged in');
  t.equal((await ask(`metalhub-session=nonsense; ${own}`)).statusCode, 200);
  t.ok(test.logLines.some(({ message }) => message === 'several session cookies came with one request'));
});

t.test('H05: names are inert in pages', async (t) => {
  const names = [
    '"><img src=x onerror=alert(1)>',
    '{{7*7}}',
    "';alert(1)//".replace('//', ''),
    'a\u202egnp.exe',
    '<script>x',
  ];
  const test = await openTest(t, names);
  for (const name of names) {
    const browser = await logIn(test, name);
    const home = (await browser.get('/hub/home')).body;
    t.notMatch(home, /<img|<script>x|>49</);
    test.spawner.onStart = () => Promise.reject(new Error('x'));
    const started = await browser.submit('/hub/spawn', { next: '/user/"><img>' });
    t.match(String(started.headers.location), /^\/hub\/spawn-pending\/[\w%.~@-]+\?next=[\w%]+$/);
    await until(async () => /could not|Try again/.test((await browser.get('/hub/home')).body));
    t.notMatch((await browser.get(String(started.headers.location))).body, /<img|<script>x/);
  }
});

t.test('H07: error pages and the log hold no secrets', async (t) => {
  const test = await openTest(t);
  const browser = await logIn(test, 'anna');
  await browser.submit('/hub/spawn');
  await until(() => test.spawner.units.size === 1);
  await browser.get(`/hub/ticket?path=/user/anna/&state=${'ab'.repeat(32)}`);
  await browser.post('/hub/stop', { csrf: 'secret-of-the-form' });
  const secret = browser.cookies.get('metalhub-session')?.split('.')[1] ?? 'none';
  const token = test.proxy.routes.get('/user/anna/')?.token ?? 'none';
  const log = JSON.stringify(test.logLines, (_key, value: unknown) =>
    value instanceof Error ? `${value.message} ${value.stack}` : value,
  );
  for (const value of [secret, token, 'secret-of-the-form', 'right"']) t.notOk(log.includes(value), value.slice(0, 6));
});

t.test('H08: bodies that nobody would send are refused quickly', async (t) => {
  const test = await openTest(t);
  const form = (payload: string) =>
    test.app.inject({
      method: 'POST',
      url: '/hub/login',
      payload,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
  const bodies = [
    '__proto__[x]=1&csrf=x',
    'constructor.prototype=1',
    'username=a&username=b',
    'csrf=%ff%fe',
    'a'.repeat(60_000),
    `${'a=1&'.repeat(15_000)}`,
    'username=%00',
  ];
  for (const body of bodies) {
    const beganMs = performance.now();
    t.ok([400, 403].includes((await form(body)).statusCode), body.slice(0, 30));
    t.ok(performance.now() - beganMs < 1000);
  }
  t.equal((await form('x'.repeat(10_000_000))).statusCode, 400);
  t.equal(({} as { x?: unknown }).x, undefined);
  const renew = (payload: string) =>
    test.app.inject({
      method: 'POST',
      url: '/hub/internal/ticket-renew',
      payload,
      headers: { 'content-type': 'application/json', 'x-metalhub-proxy': '1' },
    });
  const json = [
    '{"__proto__":{"x":1},"ticket":"a"}',
    '['.repeat(30_000),
    '{"ticket":1e400}',
    '{"ticket":[]}',
    '{',
    'null',
    '{"ticket":"a","b":1}',
  ];
  for (const body of json) t.equal((await renew(body)).statusCode, 400, body.slice(0, 30));
  t.equal((await renew('{"ticket":"a"}')).statusCode, 403);
});

t.test('a page that is not there is a page for people and JSON for programs', async (t) => {
  const test = await openTest(t);
  const browser = new Browser(test);
  const page = await browser.get('/hub/nothing');
  t.equal(page.statusCode, 404);
  t.match(page.headers['content-type'], 'text/html');
  t.match(page.body, String(page.headers['x-request-id']));
  const json = await browser.get('/hub/api/nothing');
  t.match(json.json(), { status: 404, code: 'MH_ERR_HUB_NOT_FOUND' });
});

t.test('static files are asked for again and answered by 304', async (t) => {
  const test = await openTest(t);
  const browser = new Browser(test);
  const first = await browser.get('/hub/static/a.css');
  t.match(first, { statusCode: 200, body: 'a{}', headers: { etag: '"1"', 'cache-control': 'no-cache' } });
  t.equal((await browser.get('/hub/static/a.css', { 'if-none-match': 'W/"1"' })).statusCode, 304);
  for (const url of ['/hub/static/..%2fhub.cjs', '/hub/static/../hub.cjs', '/hub/static/b.css', '/hub/static/']) {
    t.equal((await browser.get(url)).statusCode, 404, url);
  }
});

t.test('nobody may log in until somebody is allowed to, and the page says so', async (t) => {
  const test = await openTest(t);
  test.config = { ...test.config, login: [] };
  t.match((await new Browser(test).get('/hub/login')).body, 'Nobody can log in yet');
});
