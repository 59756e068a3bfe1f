import t from 'tap';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

let machine: Machine;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'stranger', 'right password');
  await createUser(machine, 'locked', 'right password', { groups: ['metalhub-users'] });
  await machine.run(['passwd', '--lock', 'locked']);
  await createUser(machine, 'expired', 'right password', { groups: ['metalhub-users'] });
  await machine.run(['chage', '--expiredate', '2001-01-01', 'expired']);
  await machine.run(['sh', '-c', 'echo root:rootpassword | chpasswd']);
  await machine.enterNetwork();
});

t.teardown(async () => {
  await machine?.stop();
});

interface Attempt {
  status: number;
  body: string;
  headers: string[];
  ms: number;
}

/** One attempt as a new visitor; what differs by nature (tokens, ids, dates) is taken out. */
async function attempt(name: string, password: string): Promise<Attempt> {
  const visitor = new Visitor();
  const page = await visitor.navigate('/hub/login');
  const begin = performance.now();
  const { response, text } = await visitor.submit('/hub/login', {
    csrf: fieldOf(page.text, 'csrf'),
    next: '',
    username: name,
    password,
  });
  const ms = performance.now() - begin;
  const volatile = ['date', 'x-request-id', 'content-length', 'set-cookie'];
  return {
    status: response.status,
    body: text.replace(/(name="csrf" value=")[^"]*/g, '$1').replaceAll(`value="${name}"`, 'value=""'),
    headers: [...response.headers].filter(([key]) => !volatile.includes(key)).map((pair) => pair.join(': ')),
    ms,
  };
}

t.test('M02, M04: wrong, unknown, locked and not allowed get the same answer after the same time', async (t) => {
  const kinds: [string, string, string][] = [
    ['anna', 'wrong', 'a wrong password'],
    ['nobody-here', 'wrong', 'an unknown user'],
    ['locked', 'right password', 'a locked account'],
    ['stranger', 'right password', 'an account outside the group'],
    ['root', 'rootpassword', 'root'],
  ];
  const attempts = await Promise.all(kinds.map(([name, password]) => attempt(name, password)));
  const [first] = attempts;
  for (const [index, { status, body, headers, ms }] of attempts.entries()) {
    const what = kinds[index]?.[2] ?? '';
    t.equal(status, 403, what);
    t.equal(body, first?.body, `${what}: same page`);
    t.strictSame(headers, first?.headers, `${what}: same headers`);
    t.ok(ms >= 1900, `${what}: not answered before the floor (${ms.toFixed(0)} ms)`);
  }
  const reasons = (await machine.journal({ identifier: 'hub' })).filter(({ message }) => /login refused/.test(message));
  t.ok(reasons.length >= kinds.length, 'each is in the journal');
});

t.test('an expired account is told so, but only after the right password', async (t) => {
  t.match((await attempt('expired', 'right password')).body, /expired/);
  t.notMatch((await attempt('expired', 'wrong')).body, /expired/);
});

t.test('passwords of any kind get an answer', async (t) => {
  for (const password of ['', 'x'.repeat(10_000), 'nul\0byte', 'pässwörd😀']) {
    const { status } = await attempt(`user${password.length}`, password);
    t.equal(status, 403, `${password.length} characters`);
  }
});

t.test('H01: next never leads to another site', async (t) => {
  const corpus = [
    '//evil.example',
    '/\\evil.example',
    'https://evil.example/',
    '/%09/evil.example',
    'javascript:alert(1)',
    '/hub//evil.example',
  ];
  for (const next of corpus) {
    const visitor = new Visitor();
    const page = await visitor.navigate(`/hub/login?next=${encodeURIComponent(next)}`);
    const response = await visitor.request('/hub/login', {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: 'http://localhost:8000',
        'sec-fetch-site': 'same-origin',
        'sec-fetch-mode': 'navigate',
      },
      body: new URLSearchParams({
        csrf: fieldOf(page.text, 'csrf'),
        next,
        username: 'anna',
        password: 'correct horse',
      }).toString(),
    });
    t.equal(response.status, 303, next);
    const location = response.headers.get('location') ?? '';
    t.equal(new URL(location, 'http://localhost:8000').host, 'localhost:8000', next);
    t.match(location, /^\/(?![/\\])/, next);
  }
});

t.test('H02, H03: a login form from another site is refused', async (t) => {
  const visitor = new Visitor();
  await visitor.navigate('/hub/login');
  for (const headers of [{ origin: 'http://evil.example' }, { 'sec-fetch-site': 'cross-site' }, {}] as Record<
    string,
    string
  >[]) {
    const response = await visitor.request('/hub/login', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: 'username=anna&password=correct+horse&csrf=guessed&next=',
    });
    t.equal(response.status, 403);
    t.notMatch(response.headers.get('set-cookie') ?? '', /metalhub-session/);
  }
});

t.test('cookies are HttpOnly and SameSite=Lax, pages carry the security headers', async (t) => {
  const visitor = new Visitor();
  const page = await visitor.navigate('/hub/login');
  const policy = page.response.headers.get('content-security-policy') ?? '';
  t.match(policy, /default-src 'none'/);
  t.match(policy, /frame-ancestors 'none'/);
  t.notMatch(policy, /unsafe/);
  t.equal(page.response.headers.get('x-content-type-options'), 'nosniff');
  const response = await visitor.request('/hub/login', {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      origin: 'http://localhost:8000',
      'sec-fetch-site': 'same-origin',
    },
    body: new URLSearchParams({
      csrf: fieldOf(page.text, 'csrf'),
      next: '',
      username: 'anna',
      password: 'correct horse',
    }).toString(),
  });
  const cookie = response.headers.getSetCookie().find((line) => line.startsWith('metalhub-session='));
  t.match(cookie, /; Path=\/hub\/;/);
  t.match(cookie, /HttpOnly/);
  t.match(cookie, /SameSite=Lax/);
});

t.test('a login survives a restart of every daemon', async (t) => {
  const visitor = new Visitor();
  await visitor.logIn('anna', 'correct horse');
  await machine.run(['systemctl', 'restart', 'hub.service', 'hub-proxy.service']);
  const { response, path } = await visitor.navigate('/hub/home');
  t.equal(`${response.status} ${path}`, '200 /hub/home');
});

t.test('names that no Unix account can have are refused like wrong passwords', async (t) => {
  for (const name of ['anna\nroot', '-x', 'a:b', 'a/b', '%n', 'Jürgen Müller@uni.example', 'x'.repeat(1000)]) {
    t.equal((await attempt(name, 'x')).status, 403, JSON.stringify(name).slice(0, 40));
  }
});

t.test('H12: what visitors type reaches the journal bounded and escaped', async (t) => {
  const entries = await machine.journal({ identifier: 'hub' });
  for (const { message } of entries) t.ok(!/[\p{Cc}]/u.test(message.replaceAll('\n', '')) && message.length < 8192);
  t.notMatch(JSON.stringify(entries), /correct horse|right password|rootpassword/, 'no password');
});

t.test('failed attempts are slowed for the name that is tried', async (t) => {
  let last = 0;
  for (let round = 0; round < 8 && last !== 429; round++) {
    last = (await attempt('often-tried', 'wrong')).status;
  }
  t.equal(last, 429);
});

t.test('the journal has no unexpected warnings', async () => {
  // What the attempts above provoke on purpose.
  await machine.assertCleanJournal([/^hub-pam/, /further logins are refused for a while/]);
});
