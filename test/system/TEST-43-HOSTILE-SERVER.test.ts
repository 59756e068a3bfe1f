import type { Browser } from 'playwright-core';
import t from 'tap';
import { launchBrowser, logIn, newVisitor, screenshot } from '../lib/browser.js';
import { createUser, installDeb } from '../lib/deb.js';
import { plantHostileServer, seenByHostileServer } from '../lib/hostile-server.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { press, start, unitProperty, until } from '../lib/server-start.js';
import { Visitor } from '../lib/visitor.js';

t.setTimeout(600_000);

let machine: Machine;
let browser: Browser;
const anna = { name: 'anna', visitor: new Visitor() };
const mallory = { name: 'mallory', visitor: new Visitor() };

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await machine.enterNetwork();
  for (const { name, visitor } of [anna, mallory]) {
    await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
    await visitor.logIn(name, 'correct horse');
    await start(visitor, name);
    await visitor.navigate(`/user/${name}/api/status`);
  }
  await press(mallory.visitor, 'stop');
  await plantHostileServer(machine);
  await start(mallory.visitor, 'mallory');
  await until(
    'the server is replaced',
    async () => (await machine.exec(['test', '-e', `${home('mallory')}/taken`])).code === 0,
  );
  browser = await launchBrowser();
});

t.teardown(async () => {
  await browser?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=100']));
  await machine?.stop();
});

function home(name: string): string {
  return `/var/lib/private/metalhub/home/${name}`;
}

/** Whoever is logged in is still, and anna's server is still hers. */
async function assertUnharmed(test: Pick<typeof t, 'match' | 'equal'>): Promise<void> {
  for (const { name, visitor } of [anna, mallory])
    test.match((await visitor.navigate('/hub/home')).text, `<bdi>${name}</bdi>`, `${name} is logged in`);
  const answer = await anna.visitor.request('/user/anna/api/status');
  test.equal(answer.status, 200);
  test.match(await answer.json(), { started: String });
}

t.test('U06: it answers in its own unit, on the socket that systemd made', async (t) => {
  const { response, text } = await mallory.visitor.navigate('/user/mallory/lab');
  t.equal(response.status, 200);
  t.match(text, '<h1>hostile</h1>');
  t.equal(await unitProperty(machine, 'jupyter-mallory.service', 'ActiveState'), 'active');
});

t.test('U06: it gets no cookie of the hub’s, whoever asks and however it is spelled', async (t) => {
  const session = mallory.visitor.cookieHeader('/hub/home');
  const ticket = mallory.visitor.cookieHeader('/user/mallory/');
  t.match(session, /metalhub-session=/);
  t.match(ticket, /metalhub-ticket=/);
  const everything = `a=1; ${session}; ${ticket}; __Host-${session}; METALHUB-x=2; b=3`;
  await new Visitor().request('/user/mallory/x', { headers: { cookie: everything } });
  const headers = { cookie: `${everything}; ${ticket}`, authorization: 'Bearer own-secret', 'x-mark': 'last' };
  await new Visitor().request('/user/mallory/x', { headers });
  const seen = await seenByHostileServer(machine);
  t.match(seen, /^x-mark: last/im);
  t.match(seen, /^cookie: .*a=1/im, 'the others come through');
  t.notMatch(seen, /metalhub-/i);
  for (const [, name = '', value = ''] of `${session}; ${ticket}`.matchAll(/(metalhub-[a-z-]+)=([^;]+)/g))
    t.notOk(seen.includes(value), name);
  t.notMatch(seen, /own-secret|[?&]code=/);
});

t.test('U06: it sets cookies for its own path only, clears nothing and gets no wider service worker', async (t) => {
  const { headers } = await mallory.visitor.request('/user/mallory/x');
  t.same(headers.getSetCookie(), ['own=1; Path=/user/mallory/']);
  t.equal(headers.get('clear-site-data'), null);
  t.equal(headers.get('service-worker-allowed'), null);
  await assertUnharmed(t);
});

t.test('U06: loops, garbage, two lengths, endless heads and answers too many harm its own user only', async (t) => {
  await t.rejects(mallory.visitor.navigate('/user/mallory/loop'), /too many redirects/);
  for (const path of ['garbage', 'split', 'endless', 'switch'])
    t.equal((await mallory.visitor.request(`/user/mallory/${path}`)).status, 502, path);
  t.equal(await (await mallory.visitor.request('/user/mallory/behind')).text(), 'first');
  t.notMatch((await mallory.visitor.navigate('/user/mallory/lab')).text, 'smuggled');
  await assertUnharmed(t);
});

t.test('U06: in a real browser the login survives the visit, and no service worker takes the site', async (t) => {
  const context = await newVisitor(browser);
  const page = await context.newPage();
  await logIn(page, 'mallory', 'correct horse');
  await page.waitForURL(/\/hub\/home/);
  await page.evaluate(() => localStorage.setItem('kept', 'yes'));
  const session = (await context.cookies()).find(({ name }) => name === 'metalhub-session');
  await page.goto('/user/mallory/lab');
  await page.locator('#worker').waitFor();
  t.equal(await page.locator('#worker').innerText(), 'SecurityError', 'refused by the browser');
  t.notMatch(await page.locator('#cookies').innerText(), session?.value ?? 'no session');
  await screenshot(page, 'hostile');
  t.equal(await page.evaluate(() => localStorage.getItem('kept')), 'yes', 'nothing was cleared');
  t.same(
    (await context.cookies()).find(({ name, path }) => name === 'metalhub-session' && path === session?.path),
    session,
  );
  const loop = await context.newPage();
  await t.rejects(loop.goto('/user/mallory/loop'), /ERR_TOO_MANY_REDIRECTS/);
  await loop.close();
  await page.goto('/hub/home');
  await page.getByText('mallory', { exact: true }).waitFor();
  await screenshot(page, 'after-hostile');
  t.equal(await page.evaluate(async () => (await navigator.serviceWorker.getRegistrations()).length), 0);
  t.notMatch(await seenByHostileServer(machine), /metalhub-/i);
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('button', { name: 'Start' }).waitFor();
  t.pass('its user gets rid of it by Stop');
  await context.close();
});

t.test('the journal has no unexpected warnings', async () => {
  // The page planted cookies with the hub's names for longer paths.
  await machine.assertCleanJournal([/several session cookies came with one request/]);
});
