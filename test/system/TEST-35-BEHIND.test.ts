import { readFileSync } from 'node:fs';
import type { Browser, BrowserContext, Cookie, Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { launchBrowser, logIn, newNotebook, newVisitor, runCell, startServer } from '../lib/browser.js';
import { renew } from '../lib/certificate.js';
import { createUser, installDeb, PAM_LOGIN } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';
import { projectFile } from '../lib/project.js';
import { fieldOf, Visitor } from '../lib/visitor.js';

t.setTimeout(900_000);

const HOST = 'hub.example.org';
const BASE = `https://${HOST}`;

let machine: Machine;
let browser: Browser;

/** The examples are tested as the documentation shows them. */
function example(language: string, index = 0): string {
  const text = readFileSync(projectFile('docs/tls.md'), 'utf8');
  const [, code] = [...text.matchAll(new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'g'))][index] ?? [];
  if (code === undefined) throw new Error(`docs/tls.md has no example ${index} for ${language}`);
  return code;
}

/** Shows what the browser sends to it. */
const OTHER_APPLICATION = `location / { default_type text/plain; return 200 "the other application got: $http_cookie"; }`;

/** The example for a path in the place of the one for a whole name, beside another application. */
const belowPath = {
  nginx: () => replaceOnce(example('nginx'), /location \/ \{[^}]*\}/, `${example('nginx', 1)}${OTHER_APPLICATION}`),
  apache2: () =>
    replaceOnce(example('apache'), /ProxyPass .*\n/, `${example('apache', 1)}DocumentRoot /var/www/html\n`),
} as const;

function replaceOnce(text: string, part: RegExp, by: string): string {
  if (!part.test(text)) throw new Error(`docs/tls.md: nothing in the example is like ${part}`);
  return text.replace(part, () => by);
}

/** @returns what `hubctl apply` said */
async function configure(trusted: readonly string[], publicUrl = BASE): Promise<string> {
  const proxy = `[proxy]\nlisten = ["127.0.0.1:8000"]\ntrusted_proxies = ${JSON.stringify(trusted)}\n`;
  await machine.writeFile('/etc/metalhub/metalhub.toml', `public_url = "${publicUrl}"\n${proxy}${PAM_LOGIN}`);
  const applied = await machine.exec(['hubctl', 'apply']);
  if (applied.code !== 0) throw new Error(applied.stderr);
  return applied.stdout;
}

t.before(async () => {
  machine = await bootMachine({ image: 'front' });
  await installDeb(machine);
  for (const name of ['anna', 'bob', 'carol', 'dave', 'erin'])
    await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
  await machine.shell(`echo 127.0.0.1 ${HOST} >>/etc/hosts`);
  await renew(machine, 1);
  await machine.enterNetwork();
  await configure(['127.0.0.1']);
  browser = await launchBrowser({ args: [`--host-resolver-rules=MAP ${HOST} 127.0.0.1`] });
});

t.teardown(async () => {
  await browser?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=150']));
  await machine?.stop();
});

const servers = {
  nginx: async (site = example('nginx')): Promise<void> => {
    await machine.shell('rm -f /etc/nginx/sites-enabled/*');
    await machine.writeFile('/etc/nginx/sites-enabled/hub', site);
    await machine.run(['systemctl', 'restart', 'nginx']);
  },
  apache2: async (site = example('apache')): Promise<void> => {
    await machine.run(['a2enmod', '-q', 'ssl', 'headers', 'proxy', 'proxy_http']);
    await machine.shell('rm -f /etc/apache2/sites-enabled/*; echo Listen 443 >/etc/apache2/ports.conf');
    await machine.writeFile('/etc/apache2/sites-enabled/hub.conf', site);
    await machine.run(['systemctl', 'restart', 'apache2']);
  },
} as const;

for (const [name, start] of Object.entries(servers)) {
  t.test(`behind ${name} as documented: log in, start a server, use a kernel`, async (t) => {
    await start();
    t.teardown(() => machine.run(['systemctl', 'stop', name]).then(() => undefined));
    const context = await newVisitor(browser, BASE);
    t.teardown(() => context.close());
    const page = await context.newPage();
    await logIn(page, name === 'nginx' ? 'anna' : 'bob', 'correct horse');
    await page.waitForURL(/\/hub\/home/);
    await startServer(page);
    await newNotebook(page);
    t.equal(await runCell(page, 'print(6 * 7)'), '42');
    const cookies = (await context.cookies()).filter((cookie) => cookie.name.startsWith('metalhub'));
    t.ok(cookies.length > 0 && cookies.every(({ secure }) => secure));
  });

  t.test(`P05: failed logins are slowed by the visitor's own address, behind ${name}`, async (t) => {
    await start();
    t.teardown(() => machine.run(['systemctl', 'stop', name]).then(() => undefined));
    const since = await machine.cursor();
    const ca = await machine.readFile('/etc/letsencrypt/live/hub.example.org/fullchain.pem');
    const address = name === 'nginx' ? '127.9.0.1' : '127.9.0.2';
    const visitor = new Visitor({ base: BASE, ca, address });
    await visitor.logIn('nobody-here', 'wrong');
    const entry = await machine.waitForEntry({ since, unit: 'hub.service' }, /login (refused|failed)/i);
    t.equal(entry.fields['METALHUB_ADDRESS'], address);
    const again = await machine.cursor();
    const form = await visitor.request('/hub/login');
    const body = new URLSearchParams({
      csrf: fieldOf(await form.text(), 'csrf'),
      next: '',
      username: 'nobody-else',
      password: 'wrong',
    });
    const answer = await visitor.request('/hub/login', {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: BASE,
        'x-forwarded-for': '203.0.113.9',
        forwarded: 'for=203.0.113.9',
      },
      body: body.toString(),
    });
    t.not(answer.status, 303, 'refused');
    const spoofed = await machine.waitForEntry({ since: again, unit: 'hub.service' }, /login (refused|failed)/i);
    t.equal(spoofed.fields['METALHUB_ADDRESS'], address, 'whatever the visitor says of it');
  });
}

t.test('P05: without trusted_proxies, what the server in front says does not count', async (t) => {
  await configure([]);
  await servers.nginx();
  const since = await machine.cursor();
  const ca = await machine.readFile('/etc/letsencrypt/live/hub.example.org/fullchain.pem');
  await new Visitor({ base: BASE, ca, address: '127.9.0.3' }).logIn('nobody-there', 'wrong');
  const entry = await machine.waitForEntry({ since, unit: 'hub.service' }, /login (refused|failed)/i);
  t.equal(entry.fields['METALHUB_ADDRESS'], '127.0.0.1');
});

/** All that a page asks its site for, by path. */
function watchPaths(page: Page, origin: string): string[] {
  const paths: string[] = [];
  const note = (address: string): void => {
    const url = new URL(address);
    if (url.origin.replace(/^ws/, 'http') === origin) paths.push(url.pathname);
  };
  page.on('request', (request) => note(request.url()));
  page.on('websocket', (socket) => note(socket.url()));
  return paths;
}

async function metalhubCookies(context: BrowserContext): Promise<Cookie[]> {
  return (await context.cookies()).filter(({ name }) => name.startsWith('metalhub'));
}

/** From the login to a kernel that answers. */
async function workIn(t: Test, page: Page, user: string, start: string): Promise<void> {
  await logIn(page, user, 'correct horse', start);
  await page.waitForURL(/\/jupyter\/hub\/home$/);
  await startServer(page);
  t.match(page.url(), `/jupyter/user/${user}/lab`);
  await newNotebook(page);
  t.equal(await runCell(page, 'print(6 * 7)'), '42');
}

for (const [name, start] of Object.entries(servers)) {
  const user = name === 'nginx' ? 'carol' : 'dave';
  t.test(`below a path beside another application, behind ${name} as documented`, async (t) => {
    await configure(['127.0.0.1'], `${BASE}/jupyter/`);
    await start(belowPath[name as keyof typeof belowPath]());
    t.teardown(() => machine.run(['systemctl', 'stop', name]).then(() => undefined));
    const context = await newVisitor(browser, BASE);
    t.teardown(() => context.close());
    const page = await context.newPage();
    const paths = watchPaths(page, BASE);
    await workIn(t, page, user, '/jupyter');
    await page.goto('/jupyter/');
    await page.waitForURL(/\/jupyter\/hub\/home$/);
    await page.getByRole('link', { name: 'Open' }).click();
    await page.waitForURL(new RegExp(`/jupyter/user/${user}/lab`));
    await page.goto('/jupyter/hub/home');
    const cookies = await metalhubCookies(context);
    t.ok(cookies.length >= 2 && cookies.every(({ path, secure }) => path.startsWith('/jupyter/') && secure));
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('You are logged out.').waitFor();
    t.match(page.url(), '/jupyter/hub/login');
    t.same(
      paths.filter((path) => path !== '/jupyter' && !path.startsWith('/jupyter/')),
      [],
    );
    t.ok(paths.some((path) => path.endsWith('/channels')) && paths.length > 100, `${paths.length} requests`);
    const other = await page.goto('/');
    t.equal(other?.status(), 200);
    if (name === 'nginx') t.notMatch(await page.content(), 'metalhub', 'the other application gets no cookie of ours');
    await machine.run(['hubctl', 'stop', user]);
  });
}

t.test('below a path without anything in front; when it changes, what runs goes on where it is', async (t) => {
  const origin = 'http://localhost:8000';
  await configure([], `${origin}/jupyter`);
  t.match(await machine.run(['sh', '-c', 'hubctl doctor || true']), /address 127\.0\.0\.1:8000: answers, and so does/);
  const context = await newVisitor(browser, origin);
  t.teardown(() => context.close());
  const page = await context.newPage();
  const paths = watchPaths(page, origin);
  await workIn(t, page, 'erin', '/');
  t.same(
    paths.filter((path) => path !== '/' && !path.startsWith('/jupyter/')),
    [],
  );
  const visitor = new Visitor({ base: origin });
  for (const path of ['/hub/login', '/user/erin/', '/favicon.ico']) t.equal((await visitor.request(path)).status, 404);
  t.match((await visitor.request('/')).headers.get('location'), /^\/jupyter\/$/);

  t.match(await configure([], origin), 'warning: the server of erin stays at /jupyter/user/erin/ until it is stopped');
  t.equal(await runCell(page, 'print(_ih[1])'), 'print(6 * 7)', 'the same kernel, in the same page');
  // Of its own connections: those of before are served by the proxy of before, which knows the old path.
  const others = await newVisitor(browser, origin);
  t.teardown(() => others.close());
  const second = await others.newPage();
  await logIn(second, 'erin', 'correct horse', '/');
  await second.waitForURL(`${origin}/hub/home`);
  await second.getByRole('link', { name: 'Open' }).click();
  await second.waitForURL(/:8000\/jupyter\/user\/erin\/lab/);
  await second.goto('/user/erin/lab');
  await second.waitForURL(/:8000\/jupyter\/user\/erin\/lab/);
  await machine.run(['systemctl', 'restart', 'hub']);
  t.match(await machine.run(['hubctl', 'routes']), '/jupyter/user/erin/', 'also after a restart');
  await second.goto('/hub/home');
  await second.getByRole('button', { name: 'Stop' }).click();
  await startServer(second);
  t.equal(new URL(second.url()).pathname.split('/lab')[0], '/user/erin');
  t.notMatch(await configure([], origin), 'warning');
});
