import { readFileSync } from 'node:fs';
import type { Browser } from 'playwright-core';
import t from 'tap';
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
function example(language: string): string {
  const text = readFileSync(projectFile('docs/tls.md'), 'utf8');
  const code = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(text)?.[1];
  if (code === undefined) throw new Error(`docs/tls.md has no example for ${language}`);
  return code;
}

async function configure(trusted: readonly string[]): Promise<void> {
  const proxy = `[proxy]\nlisten = ["127.0.0.1:8000"]\ntrusted_proxies = ${JSON.stringify(trusted)}\n`;
  await machine.writeFile('/etc/metalhub/metalhub.toml', `public_url = "${BASE}"\n${proxy}${PAM_LOGIN}`);
  const applied = await machine.exec(['hubctl', 'apply']);
  if (applied.code !== 0) throw new Error(applied.stderr);
}

t.before(async () => {
  machine = await bootMachine({ image: 'front' });
  await installDeb(machine);
  for (const name of ['anna', 'bob']) await createUser(machine, name, 'correct horse', { groups: ['metalhub-users'] });
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
  nginx: async (): Promise<void> => {
    await machine.shell('rm -f /etc/nginx/sites-enabled/*');
    await machine.writeFile('/etc/nginx/sites-enabled/hub', example('nginx'));
    await machine.run(['systemctl', 'start', 'nginx']);
  },
  apache2: async (): Promise<void> => {
    await machine.run(['a2enmod', '-q', 'ssl', 'headers', 'proxy', 'proxy_http']);
    await machine.shell('rm -f /etc/apache2/sites-enabled/*; echo Listen 443 >/etc/apache2/ports.conf');
    await machine.writeFile('/etc/apache2/sites-enabled/hub.conf', example('apache'));
    await machine.run(['systemctl', 'start', 'apache2']);
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
