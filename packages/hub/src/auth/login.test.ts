import type { PamOutcome } from '@metalhub/wire/pam.js';
import t from 'tap';
import { Browser, TestHub } from '../testing/test-hub.js';
import { FAILURE_FLOOR_MS } from './login-service.js';

// Of the whole file, also when it is run by itself: half a minute is not enough on a busy machine.
t.setTimeout(600_000);

const TEXT = 'Name or password is wrong, or this account may not log in here.';

async function openTest(t: { teardown: (end: () => Promise<void>) => void }): Promise<TestHub> {
  const test = await TestHub.open((test) => void test.pam.passwords.set('anna', 'right'));
  t.teardown(() => test.close());
  return test;
}

t.test('M04: wrong, unknown, locked and denied get the same answer after the same time', async (t) => {
  const test = await openTest(t);
  const outcomes: [string, PamOutcome][] = [
    ['wrong1', 'wrong_password'],
    ['lock12', 'locked'],
    ['denied', 'denied'],
    ['odd123', 'malformed'],
  ];
  for (const [name, outcome] of outcomes) {
    test.pam.passwords.set(name, 'right');
    test.pam.outcomes.set(name, outcome);
  }
  test.pam.passwords.set('wrong1', 'other');
  const answers = [];
  for (const name of ['nobody', ...outcomes.map(([known]) => known)]) {
    const browser = new Browser(test, `192.0.2.${answers.length + 1}`);
    const beganMs = test.clock.monotonicMs();
    const { statusCode, headers, body } = await browser.logIn(name, 'right');
    const { 'x-request-id': _id, date: _date, ...same } = headers;
    const token = /name="csrf" value="([^"]+)"/.exec(body)?.[1] ?? '';
    answers.push({ statusCode, same, body: body.replaceAll(name, 'NAME').replaceAll(token, 'TOKEN') });
    t.equal(test.clock.monotonicMs() - beganMs, FAILURE_FLOOR_MS);
  }
  t.match(answers[0]?.body, TEXT);
  for (const answer of answers) t.same(answer, answers[0]);
  const logged = test.logLines
    .filter(({ message }) => message === 'login refused')
    .map(({ fields }) => fields['outcome']);
  t.same(logged, ['unknown_user', 'wrong_password', 'locked', 'denied', 'malformed'], 'the log tells them apart');
});

t.test('M03: who knows the password is told what is wrong with the account', async (t) => {
  const test = await openTest(t);
  const browser = new Browser(test);
  test.pam.outcomes.set('anna', 'account_expired');
  t.match((await browser.logIn('anna', 'right')).body, 'This account has expired');
  test.pam.outcomes.set('anna', 'password_expired');
  t.match((await browser.logIn('anna', 'right')).body, 'has to be changed first');
  t.match((await browser.logIn('anna', 'wrong')).body, TEXT);
  t.equal(browser.cookies.has('metalhub-session'), false);
});

t.test('a failure of the machine is said to be one', async (t) => {
  const test = await openTest(t);
  test.pam.outcomes.set('anna', 'error');
  const answer = await new Browser(test).logIn('anna', 'right');
  t.equal(answer.statusCode, 503);
  t.match(answer.body, 'could not be checked');
  t.ok(test.logLines.some(({ level, message }) => level === 'error' && message === 'login could not be checked'));
});

t.test('H12: names that cannot be are refused before anything is asked', async (t) => {
  const test = await openTest(t);
  const browser = new Browser(test);
  for (const name of ['', 'a\nb', '\u001b[31mred', 'x'.repeat(1000), 'a/b', 'a\0b']) {
    test.clock.pass(60_000);
    const answer = await browser.logIn(name, 'right');
    t.equal(answer.statusCode, 403);
    t.match(answer.body, TEXT);
  }
  t.equal((await browser.logIn('x'.repeat(1_000_000), 'right')).statusCode, 400);
  t.same(test.pam.attempts, []);
  const names = test.logLines.map(({ fields }) => String(fields['user'] ?? ''));
  t.ok(names.every((name) => name.length <= 64));
});

t.test('names and passwords reach the login method as typed', async (t) => {
  const test = await openTest(t);
  const password = ' pass wörd+%26&=\u0308 ';
  test.pam.passwords.set('Anna Müller@example.org', password);
  const answer = await new Browser(test).logIn(' Anna Müller@example.org ', password);
  t.equal(answer.statusCode, 303);
  t.same(test.pam.attempts, [{ name: 'Anna Müller@example.org', password, remote_host: '192.0.2.7' }]);
  t.match(await test.context.database.all('SELECT name, key, login_method FROM users'), [
    { name: 'Anna Müller@example.org', login_method: 'pam', key: 'anna_m_ller_example_org' },
  ]);
});

t.test('a key stays the same for good, and belongs to one name', async (t) => {
  const test = await openTest(t);
  for (const name of ['anna.k', 'anna_k', 'ANNA.K']) test.pam.passwords.set(name, 'right');
  for (const name of ['anna.k', 'anna_k', 'anna.k', 'ANNA.K']) await new Browser(test).logIn(name, 'right');
  const rows = await test.context.database.all('SELECT name, key FROM users ORDER BY id');
  t.equal(rows[0]?.['key'], 'anna_k');
  t.equal(new Set(rows.map((row) => row['key'])).size, 3);
});

t.test('H11: guessing at one name from many addresses ends, and its owner still gets in', async (t) => {
  const test = await openTest(t);
  const owner = new Browser(test, '198.51.100.1');
  t.equal((await owner.logIn('anna', 'right')).statusCode, 303);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, host) => new Browser(test, `192.0.2.${host}`).logIn('anna', 'guess')),
  );
  const asked = test.pam.attempts.length - 1;
  t.ok(asked <= 5, `${asked} guesses were checked`);
  t.equal(test.pam.mostRunning, 1, 'one at a time');
  t.ok(
    answers.some(
      ({ statusCode, headers }) => statusCode === 429 || headers['retry-after'] !== undefined || statusCode === 503,
    ),
  );
  t.equal(
    (await new Browser(test, '203.0.113.1').logIn('anna', 'right')).statusCode,
    429,
    'the right password does not help a stranger',
  );
  t.equal((await new Browser(test, '198.51.100.1').logIn('anna', 'right')).statusCode, 303);
  const warnings = test.logLines.filter(({ message }) => message === 'further logins are refused for a while');
  t.equal(warnings.length, 1, 'one line for all of it');
});

t.test('H11: a thousand guesses from one address ask for few passwords, and leave few lines', async (t) => {
  const test = await openTest(t);
  const browser = new Browser(test);
  for (let count = 0; count < 100; count++) {
    await browser.logIn(`name ${count}`, 'guess');
    test.clock.pass(-FAILURE_FLOOR_MS);
  }
  t.ok(test.pam.attempts.length <= 10, String(test.pam.attempts.length));
  t.ok(test.logLines.filter(({ fields }) => fields['address'] !== undefined).length <= 11);
});

t.test('penalties outlive a restart of the hub', async (t) => {
  const test = await openTest(t);
  for (let host = 0; host < 6; host++) await new Browser(test, `192.0.2.${host}`).logIn('anna', 'guess');
  await test.stop();
  await test.start();
  t.equal((await new Browser(test, '203.0.113.1').logIn('anna', 'right')).statusCode, 429);
});

t.test('H11: an IPv6 address that changes within its network stays known', async (t) => {
  const test = await openTest(t);
  t.equal((await new Browser(test, '2001:db8:1:2::5').logIn('anna', 'right')).statusCode, 303);
  for (let host = 0; host < 6; host++) await new Browser(test, `192.0.2.${host}`).logIn('anna', 'guess');
  t.equal((await new Browser(test, '2001:db8:1:2:abcd::6').logIn('anna', 'right')).statusCode, 303);
  t.equal((await new Browser(test, '2001:db8:9:9::5').logIn('anna', 'right')).statusCode, 429);
});

t.test('H11: behind a web server on the same machine nobody is locked out by others', async (t) => {
  const test = await openTest(t);
  for (let count = 0; count < 40; count++) {
    await new Browser(test, '127.0.0.1').logIn(`name ${count}`, 'guess');
    test.clock.pass(-FAILURE_FLOOR_MS);
  }
  t.equal((await new Browser(test, '127.0.0.1').logIn('anna', 'right')).statusCode, 303, 'for the first time');
  t.same(await test.context.database.all('SELECT * FROM login_sources'), [], 'and the address is not hers by that');
  for (let count = 0; count < 6; count++) await new Browser(test, '192.0.2.1').logIn('anna', 'guess');
  t.equal((await new Browser(test, '127.0.0.1').logIn('anna', 'right')).statusCode, 429);
});

t.test('S02: nobody gets a key whose account on the machine is somebody else', async (t) => {
  const test = await openTest(t);
  const user = { uid: 70_000, gid: 70_000 };
  test.accounts.set('jupyter-anna', { ...user, home: '/home/jupyter-anna' });
  test.accounts.set('jupyter-bert', { ...user, home: '/var/lib/metalhub/home/bert' });
  test.pam.passwords.set('bert', 'right');
  for (const name of ['anna', 'bert']) t.equal((await new Browser(test).logIn(name, 'right')).statusCode, 303);
  const keys = async () =>
    (await test.context.database.all('SELECT key FROM users ORDER BY id')).map((row) => row['key']);
  const [anna, bert] = await keys();
  t.match(anna, /^u[a-z2-7]{22}$/);
  t.equal(bert, 'bert', 'what has the home of the key is its own account');
  test.accounts.set('jupyter-bert', { ...user, home: '/home/jupyter-bert' });
  for (const name of ['anna', 'bert']) await new Browser(test).logIn(name, 'right');
  t.same(await keys(), [anna, bert], 'a key that was given stays');
});

t.test('administrators are those that the configuration names', async (t) => {
  const test = await openTest(t);
  test.pam.passwords.set('root-of-all', 'right');
  const admin = new Browser(test);
  await admin.logIn('root-of-all', 'right');
  t.match((await admin.get('/hub/home')).body, 'Administrator');
  const browser = new Browser(test);
  await browser.logIn('anna', 'right');
  t.notMatch((await browser.get('/hub/home')).body, 'Administrator');
});

t.test('R07: a login that cannot be stored is refused with a reason, and works again later', async (t) => {
  const test = await openTest(t);
  const browser = new Browser(test);
  await test.context.database.execute('PRAGMA query_only = ON');
  const answer = await browser.logIn('anna', 'right');
  t.equal(answer.statusCode, 503);
  t.match(answer.body, 'read-only');
  t.notOk(browser.cookies.has('metalhub-session'));
  await test.context.database.execute('PRAGMA query_only = OFF');
  t.equal((await browser.logIn('anna', 'right')).statusCode, 303);
});
