import type { Browser, BrowserContext, Page } from 'playwright-core';
import t from 'tap';
import {
  launchBrowser,
  logIn,
  newNotebook,
  newVisitor,
  PUBLIC_URL,
  runCell,
  saveNotebook,
  screenshot,
  startServer,
} from '../lib/browser.js';
import { createUser, installDeb } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';

t.setTimeout(900_000);

let machine: Machine;
let browser: Browser;
let anna: BrowserContext;
let page: Page;

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, 'bob', 'battery staple', { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  browser = await launchBrowser();
  anna = await newVisitor(browser);
  page = await anna.newPage();
});

t.teardown(async () => {
  await browser?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=150']));
  await machine?.stop();
});

t.test('a wrong password gets a clear message and keeps the name', async (t) => {
  await logIn(page, 'anna', 'wrong');
  await page.getByRole('alert').waitFor();
  t.match(await page.getByRole('alert').innerText(), /name or password/i);
  t.equal(await page.getByLabel('Name').inputValue(), 'anna');
  t.equal(await page.getByLabel('Password').inputValue(), '');
  await screenshot(page, 'login-wrong');
});

t.test('the right password leads home, Start to JupyterLab', async (t) => {
  await logIn(page, 'anna', 'correct horse');
  await page.waitForURL(/\/hub\/home/);
  await screenshot(page, 'home');
  await startServer(page);
  t.match(page.url(), '/user/anna/lab');
  await screenshot(page, 'lab');
});

t.test('a Python cell runs over the kernel WebSocket and the notebook is saved', async (t) => {
  await newNotebook(page);
  t.equal(await runCell(page, 'print(6*7)'), '42');
  t.equal(await runCell(page, 'import os; kept = os.getpid(); print("kept")'), 'kept');
  await saveNotebook(page);
  const home = '/var/lib/private/metalhub/home/anna';
  t.match(await machine.run(['sh', '-c', `grep -l 'print(6\\*7)' ${home}/*.ipynb`]), 'Untitled.ipynb');
});

t.test('restarts of the hub and of the proxy leave the open page and its kernel alone', async (t) => {
  await page.evaluate(() => Object.assign(window, { metalhubMark: 'same page' }));
  await machine.run(['systemctl', 'restart', 'hub.service']);
  t.equal(await runCell(page, 'print(os.getpid() == kept)'), 'True');
  await machine.run(['systemctl', 'restart', 'hub-proxy.service']);
  t.equal(await runCell(page, 'print(os.getpid() == kept, 1)'), 'True 1');
  await machine.run(['systemctl', 'restart', 'hub-spawner.service']);
  t.equal(await runCell(page, 'print(os.getpid() == kept, 2)'), 'True 2');
  t.equal(
    await page.evaluate(() => (window as { metalhubMark?: string }).metalhubMark),
    'same page',
    'without a reload',
  );
});

t.test('the terminal has a true name and home, and git and ssh-keygen work', async (t) => {
  const script = [
    'import subprocess',
    'sh = lambda c: subprocess.run(["bash", "-lc", c], capture_output=True, text=True)',
    'r = sh("whoami; echo ~; cd ~ && git init -q repo && test -d repo/.git && ssh-keygen -q -t ed25519 -N \'\' -f ~/.ssh/id && ls ~/.ssh")',
    'print(r.stdout.split(), r.returncode, r.stderr)',
  ];
  const output = await runCell(page, script.join('\n'));
  t.match(output, "['jupyter-anna', '/var/lib/metalhub/home/anna', 'id', 'id.pub'] 0");
});

t.test('two users at once: neither can open the other’s server', async (t) => {
  const bob = await newVisitor(browser);
  const bobPage = await bob.newPage();
  await logIn(bobPage, 'bob', 'battery staple');
  await bobPage.waitForURL(/\/hub\/home/);
  await startServer(bobPage);
  t.match(bobPage.url(), '/user/bob/lab');

  const answer = await bobPage.goto('/user/anna/lab');
  t.equal(answer?.status(), 403, 'by URL');
  t.match(await bobPage.getByRole('banner').innerText(), /bob\s+Log out/, 'who is told as whom they are logged in');
  t.ok(await bobPage.getByRole('link', { name: 'Go to the home page' }).isVisible());
  await screenshot(bobPage, 'forbidden');
  for (const path of ['/user/anna/api/contents', '/user/anna/api/kernels', '/user/anna/files/Untitled.ipynb']) {
    const response = await bob.request.get(path, { headers: { accept: 'application/json' }, maxRedirects: 0 });
    t.ok([401, 403].includes(response.status()), `${path}: ${response.status()}`);
  }
  const posted = await bob.request.post('/user/anna/api/kernels', { headers: { origin: PUBLIC_URL }, maxRedirects: 0 });
  t.ok([401, 403].includes(posted.status()), `a kernel cannot be started: ${posted.status()}`);

  await bobPage.goto('/user/bob/lab');
  await newNotebook(bobPage);
  const attack = [
    'import os, socket, subprocess',
    'def tried(f):',
    '    try: f(); return "done"',
    '    except Exception as e: return type(e).__name__',
    'def unix(p):',
    '    s = socket.socket(socket.AF_UNIX); s.connect(p)',
    'names = ["servers/anna.sock", "hub.sock", "proxy.sock", "spawner.sock", "pam.sock", "logs.sock", "admin.sock"]',
    'results = [tried(lambda: unix("/run/metalhub/" + n)) for n in names]',
    'results += [tried(lambda: os.listdir(d)) for d in ["/var/lib/metalhub/home/anna", "/var/lib/private/metalhub/home/anna"]]',
    'results += [tried(lambda: open("/var/lib/metalhub/home/anna/Untitled.ipynb").read())]',
    'others = [p for p in os.listdir("/proc") if p.isdigit() and os.stat("/proc/" + p).st_uid != os.getuid()]',
    'print("done" in results, others)',
  ];
  t.equal(await runCell(bobPage, attack.join('\n')), 'False []', 'from a shell on the machine');
  await bob.close();
});

t.test('U03: no server and no channel of a kernel listens on a TCP port', async (t) => {
  const listeners = (await machine.run(['ss', '-Htlnp'])).split('\n').filter((line) => line.includes('python'));
  const kernels = await machine.run(['pgrep', '-c', '-f', 'ipykernel_launcher']);
  // ipykernel itself binds one port per kernel for output of forked children; it ignores whoever lacks its secret.
  t.ok(listeners.length <= Number(kernels), `${listeners.length} ports, ${Number(kernels)} kernels`);
  const files = '/proc/$(pgrep -f ipykernel_launcher | head -1)/root/run/jupyter/kernel-*.json';
  t.match(await machine.shell(`cat ${files}`), '"transport": "ipc"');
});

t.test('after Stop and Start the file is still there', async (t) => {
  await page.goto('/hub/home');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('button', { name: 'Start' }).waitFor();
  t.equal((await machine.exec(['systemctl', 'is-active', 'jupyter-anna.service'])).stdout.trim(), 'inactive');
  await startServer(page);
  await page.locator('.jp-DirListing-item', { hasText: 'Untitled.ipynb' }).waitFor();
  t.pass('Untitled.ipynb is listed');
});

t.test('a server that was stopped says so at its own address, and offers to start', async (t) => {
  await page.goto('/hub/home');
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.getByRole('button', { name: 'Start' }).waitFor();
  await page.goto('/user/anna/lab/tree/Untitled.ipynb');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.waitForURL(/\/user\/anna\/lab\/tree\/Untitled\.ipynb/, { timeout: 90_000 });
  t.pass('and then opens the page that was asked for');
});

t.test('after the logout the address of the server leads to the login page', async (t) => {
  await page.goto('/hub/home');
  await page.getByRole('button', { name: /log out/i }).click();
  await page.goto('/user/anna/lab');
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  t.match(page.url(), '/hub/login');
  const response = await anna.request.get('/user/anna/api/status', { maxRedirects: 0 });
  t.equal(response.status(), 401);
});

t.test('the journal has no unexpected warnings', async () => {
  await machine.assertCleanJournal([]);
});
