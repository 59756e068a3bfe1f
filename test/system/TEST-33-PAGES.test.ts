import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import t from 'tap';
import { launchBrowser, logIn, PUBLIC_URL, screenshot } from '../lib/browser.js';
import { createUser, installDeb, PAM_LOGIN } from '../lib/deb.js';
import { bootMachine, type Machine } from '../lib/machine.js';

const CONFIG = '/etc/metalhub/metalhub.toml';
const LONG_NAME = 'a-rather-long-name-of-somebody';
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

t.setTimeout(900_000);

let machine: Machine;
let browser: Browser;
/** What the consoles of all hub pages of a test said that they should not. */
let complaints: string[] = [];

t.before(async () => {
  machine = await bootMachine({ image: 'jupyter' });
  await installDeb(machine);
  await createUser(machine, 'anna', 'correct horse', { groups: ['metalhub-users'] });
  await createUser(machine, LONG_NAME, 'correct horse', { groups: ['metalhub-users'] });
  await machine.enterNetwork();
  browser = await launchBrowser();
});

t.beforeEach(() => {
  complaints = [];
});

t.teardown(async () => {
  await browser?.close();
  if (t.counts.fail > 0) t.comment(await machine.run(['journalctl', '--no-pager', '--lines=60']));
  await machine?.stop();
});

/** A visitor whose pages are listened to. */
async function visit(options: BrowserContextOptions = {}): Promise<{ context: BrowserContext; page: Page }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, baseURL: PUBLIC_URL, ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  page.on('console', (message) => {
    const from = message.location().url;
    // A page whose own status is an error, such as the one of a forbidden server, is told so by every browser.
    const isOwnStatus = /^Failed to load resource: the server responded with a status of (401|403|404|424|503)/.test(
      message.text(),
    );
    const isHubs = !new URL(page.url(), PUBLIC_URL).pathname.startsWith('/user/') || from.includes('/hub/');
    if (
      !isHubs ||
      !['error', 'warning'].includes(message.type()) ||
      (isOwnStatus && !/\/hub\/(static|api)\//.test(from))
    )
      return;
    complaints.push(`${page.url()}: ${message.text()} (${from})`);
  });
  page.on('pageerror', (error) => {
    if (!page.url().includes('/user/')) complaints.push(`${page.url()}: ${error.message}`);
  });
  page.on('requestfailed', (request) => {
    if (/\/hub\/static\//.test(request.url()) && request.failure()?.errorText !== 'net::ERR_ABORTED') {
      complaints.push(`${request.url()}: ${request.failure()?.errorText}`);
    }
  });
  return { context, page };
}

/** By how much the page is wider than the screen. */
function overflow(page: Page): Promise<number> {
  return page.evaluate(() => {
    const root = document.documentElement;
    return Math.max(root.scrollWidth, document.body.scrollWidth) - root.clientWidth;
  });
}

/** What a finger would hardly hit: buttons and fields less than 40 pixels high. Of a radio button the box around it counts. */
function smallTargets(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [
      ...document.querySelectorAll<HTMLElement>(
        'main button, main input:not([type=hidden], [type=radio]), main select, main a.button, main .profile',
      ),
    ]
      .filter((element) => element.offsetParent !== null && element.getBoundingClientRect().height < 40)
      .map((element) => `${element.tagName} ${element.textContent} ${element.getBoundingClientRect().height}`),
  );
}

/** Lightness of what lies behind the page's text, and of the text: 0 is black, 1 is white. */
function lightness(page: Page): Promise<{ background: number; text: number }> {
  return page.evaluate(() => {
    // Painting it turns any way of writing a colour into numbers.
    const measure = (color: string): number => {
      const canvas = document.createElement('canvas').getContext('2d');
      if (canvas === null) return Number.NaN;
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      const [red = 0, green = 0, blue = 0] = canvas.getImageData(0, 0, 1, 1).data;
      return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
    };
    const body = getComputedStyle(document.body);
    const isClear = /^(transparent|rgba\(0, 0, 0, 0\))$/.test(body.backgroundColor);
    const background = isClear ? getComputedStyle(document.documentElement).backgroundColor : body.backgroundColor;
    return { background: measure(background), text: measure(body.color) };
  });
}

/** A Jupyter that prints a line as long as it gets, then never answers. */
async function useHangingServer(keys = ''): Promise<void> {
  await machine.writeFile(
    '/opt/odd/python',
    `#!/bin/bash\nprintf 'x%.0s' {1..400}; echo\nexec sleep infinity\n`,
    0o755,
  );
  await machine.writeFile(
    CONFIG,
    `${PAM_LOGIN}[server]\nstart_timeout_sec = 6\n${keys}[[profile]]\nname = "odd"\npython = "/opt/odd/python"\n`,
  );
  await machine.run(['hubctl', 'apply']);
}

async function useDefaults(): Promise<void> {
  await machine.writeFile(CONFIG, PAM_LOGIN);
  await machine.run(['hubctl', 'apply']);
}

/** Every page that the hub has, one after another. */
async function* everyPage(page: Page, name: string): AsyncGenerator<string> {
  await page.goto('/hub/login');
  yield 'login';
  await logIn(page, name, 'wrong');
  await page.getByRole('alert').waitFor();
  yield 'login refused';
  await logIn(page, name, 'correct horse');
  await page.waitForURL(/\/hub\/home/);
  yield 'home';
  await page.goto(`/user/${name}/lab/tree/${'a-folder/'.repeat(8)}${'long'.repeat(20)}.ipynb`);
  yield 'server not running';
  await page.goto('/hub/home');
  await page.getByRole('button', { name: /^(Start|Try again)$/ }).click();
  await page.locator('#pending[data-state=running]').waitFor();
  // With its style sheets.
  await page.waitForLoadState();
  yield 'pending';
  await page.locator('#pending[data-state=failed]').waitFor();
  await page.locator('details.failure-log').evaluate((details: HTMLDetailsElement) => {
    details.open = true;
  });
  yield 'failed';
  await page.goto('/hub/home');
  yield 'home after a failure';
  await page.goto('/hub/there/is/no/such/page');
  yield 'not found';
  await page.goto('/user/somebody-else/lab');
  yield 'forbidden';
}

t.test('on a phone no page scrolls sideways and everything to tap is large enough', async (t) => {
  await useHangingServer();
  const { context, page } = await visit(PHONE);
  for await (const name of everyPage(page, 'anna')) {
    t.equal(await overflow(page), 0, name);
    t.strictSame(await smallTargets(page), [], name);
    await screenshot(page, `phone-${name.replaceAll(' ', '-')}`);
  }
  t.strictSame(complaints, [], 'no error and no violation of the policy in the console');
  await context.close();
});

t.test('who prefers dark gets dark pages with light text, others the opposite', async (t) => {
  const dark = await visit({ colorScheme: 'dark' });
  for await (const name of everyPage(dark.page, 'anna')) {
    const { background, text } = await lightness(dark.page);
    t.ok(background < 0.2 && text > 0.7, `${name}: ${background.toFixed(2)} behind ${text.toFixed(2)}`);
    await screenshot(dark.page, `dark-${name.replaceAll(' ', '-')}`);
  }
  await dark.context.close();
  const light = await visit({ colorScheme: 'light' });
  await light.page.goto('/hub/login');
  const { background, text } = await lightness(light.page);
  t.ok(background > 0.8 && text < 0.3, `${background.toFixed(2)} behind ${text.toFixed(2)}`);
  await light.context.close();
  t.strictSame(complaints, []);
});

/** Presses Tab until a button with this text has the focus, and sees to it that one can see where it is. */
async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 15; presses++) {
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      const isVisible =
        element?.matches(':focus-visible') === true && getComputedStyle(element).outlineStyle !== 'none';
      return { text: element?.textContent?.trim() ?? '', isVisible };
    });
    if (focused.text === name) {
      if (presses > 0 && !focused.isVisible) throw new Error(`the focus on ${name} cannot be seen`);
      return;
    }
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab never gets to ${name} on ${page.url()}`);
}

t.test('with the keyboard alone one logs in, starts a server, stops it and logs out', async (t) => {
  await useDefaults();
  const { context, page } = await visit();
  await page.goto('/');
  await page.getByLabel('Name').waitFor();
  await page.keyboard.type('anna');
  await page.keyboard.press('Tab');
  await page.keyboard.type('correct horse');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/hub\/home/);
  const start = page.getByRole('button', { name: /^(Start|Try again)$/ });
  await tabTo(page, (await start.innerText()).trim());
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/user\/anna\/lab/, { timeout: 90_000 });
  t.pass('JupyterLab opens');
  await page.goto('/hub/home');
  await tabTo(page, 'Stop');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Start' }).waitFor();
  await tabTo(page, 'Log out');
  await page.keyboard.press('Enter');
  await page.waitForURL(/\/hub\/log(in|out)/);
  t.strictSame(complaints, []);
  await context.close();
});

t.test(
  'without JavaScript one logs in, the pages go on by themselves to the server, and it can be stopped',
  async (t) => {
    const { context, page } = await visit({ javaScriptEnabled: false });
    await logIn(page, 'anna', 'correct horse');
    await page.waitForURL(/\/hub\/home/);
    await page.getByRole('button', { name: /^(Start|Try again)$/ }).click();
    await page.waitForURL(/\/user\/anna\/lab/, { timeout: 90_000 });
    t.pass('the page of the server opens');
    await page.goto('/hub/home');
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByRole('button', { name: 'Start' }).waitFor();
    t.equal((await machine.exec(['systemctl', 'is-active', 'jupyter-anna.service'])).stdout.trim(), 'inactive');
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.goto('/hub/home');
    await page.getByRole('button', { name: 'Log in' }).waitFor();
    t.pass('logged out');
    await context.close();
  },
);

t.test('without JavaScript a failure is told too', async (t) => {
  await useHangingServer();
  const { context, page } = await visit({ javaScriptEnabled: false });
  await logIn(page, 'anna', 'correct horse');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByRole('heading', { name: 'Your server could not start' }).waitFor();
  t.match(await page.locator('.failure-message').innerText(), /6 seconds/);
  t.match(await page.locator('details.failure-log pre').textContent(), /x{100}/);
  await context.close();
});

t.test('a long name does not push anything off a small screen', async (t) => {
  await useDefaults();
  const { context, page } = await visit(PHONE);
  await logIn(page, LONG_NAME, 'correct horse');
  await page.waitForURL(/\/hub\/home/);
  t.equal(await overflow(page), 0);
  t.ok(await page.getByRole('button', { name: 'Log out' }).isVisible());
  await screenshot(page, 'phone-long-name');
  t.strictSame(complaints, []);
  await context.close();
});

t.test('a list that is fetched again leaves the focus and an open log where they are', async (t) => {
  await useHangingServer('named_limit = 1\n');
  await machine.run(['hubctl', 'start', LONG_NAME, '--server=two']).catch(() => undefined);
  const { context, page } = await visit();
  await page.clock.install();
  await logIn(page, LONG_NAME, 'correct horse');
  const card = page.locator('[data-server=two]');
  await card.getByText('Could not start').waitFor();
  await card.locator('summary').click();
  await card.getByRole('button', { name: 'Delete' }).focus();
  const shown = await page.locator('#servers').elementHandle();
  const fetchAgain = async (): Promise<void> => {
    const asked = page.waitForRequest((request) => request.headers()['x-refresh'] !== undefined);
    await page.clock.runFor(32_000);
    await asked;
  };
  // It asks again only when it has dealt with the answer before.
  for (let count = 0; count < 3; count++) await fetchAgain();
  t.ok(await shown?.evaluate((element) => element.isConnected), 'nothing has changed, so nothing is replaced');
  await machine.run(['hubctl', 'start', LONG_NAME]).catch(() => undefined);
  await fetchAgain();
  await page.waitForFunction((element) => element?.isConnected === false, shown);
  t.ok(await card.locator('details').evaluate((details: HTMLDetailsElement) => details.open), 'the log is open');
  const focused = await page.evaluate(() => ({
    text: document.activeElement?.textContent,
    server: document.activeElement?.closest<HTMLElement>('[data-server]')?.dataset['server'],
  }));
  t.strictSame(focused, { text: 'Delete', server: 'two' });
  t.strictSame(complaints, []);
  await context.close();
});

/** Two kinds of servers for members of the users' group, and one for others. */
async function useProfiles(): Promise<void> {
  const profiles = `
[[profile]]
name = "lab"
title = "JupyterLab"
description = "For lectures and exercises."
tasks_max = 3000
[[profile.choice]]
name = "size"
title = "Memory"
[[profile.choice.option]]
name = "small"
title = "2 GB"
memory_max = "2G"
[[profile.choice.option]]
name = "large"
title = "8 GB, for a few at a time"
memory_max = "8G"
[[profile]]
name = "torch"
title = "JupyterLab with PyTorch and a title that is so long that it needs more than one line"
description = "For the machine learning course: please stop the server when you are done, there are only four cards."
allow = { groups = ["metalhub-users"] }
[[profile]]
name = "staff"
title = "Not for anna"
allow = { groups = ["sudo"] }
`;
  await machine.writeFile(CONFIG, PAM_LOGIN + profiles);
  await machine.run(['hubctl', 'apply']);
}

t.test('the start page offers what one may use, on every screen, and starts what was chosen', async (t) => {
  await useProfiles();
  for (const [name, options] of [
    ['phone', PHONE],
    ['dark', { colorScheme: 'dark' }],
    ['wide', {}],
  ] as const) {
    const { context, page } = await visit(options);
    await logIn(page, 'anna', 'correct horse');
    await page.getByRole('link', { name: /^(Start|Choose another)$/ }).click();
    await page.getByRole('group', { name: 'What would you like to start?' }).waitFor();
    t.equal(await page.getByRole('radio').count(), 2, `${name}: what is for others is not there`);
    await page
      .locator('.profile')
      .first()
      .click({ position: { x: 30, y: 20 } });
    t.equal(await overflow(page), 0, name);
    t.strictSame(await smallTargets(page), [], name);
    await screenshot(page, `${name}-profiles`);
    // Anywhere in the box is as good as on the button.
    await page.locator('.profile', { hasText: 'For the machine learning course' }).click();
    t.equal(await page.getByRole('radio', { checked: true }).getAttribute('value'), 'torch');
    t.equal(await page.getByLabel('Memory').isVisible(), false, 'choices show for what is marked');
    await screenshot(page, `${name}-profiles-other`);
    if (name === 'wide') {
      await page
        .locator('.profile')
        .first()
        .click({ position: { x: 30, y: 20 } });
      await page.getByLabel('Memory').selectOption('large');
      // It failed before.
      await page.getByRole('button', { name: 'Try again' }).click();
      await page.waitForURL(/\/user\/anna\/lab/, { timeout: 90_000 });
    }
    await context.close();
  }
  const limit = await machine.run(['systemctl', 'show', '-P', 'MemoryMax', 'jupyter-anna.service']);
  t.equal(limit.trim(), String(8 * 2 ** 30));
  t.match(await machine.run(['hubctl', 'servers']), /anna.*ready.*lab/);
  await machine.run(['hubctl', 'stop', 'anna']);
  const { context, page } = await visit();
  await logIn(page, 'anna', 'correct horse');
  await page.goto('/hub/spawn');
  t.equal(await page.getByLabel('Memory').inputValue(), 'large', 'what was chosen is remembered');
  await context.close();
  t.strictSame(complaints, []);
});

t.test('the security policy does forbid what it should, so that silence in the console means something', async (t) => {
  const { context, page } = await visit();
  await page.goto('/hub/login');
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    document.body.append(script);
  });
  t.equal(await page.evaluate(() => 'ran' in window), false);
  t.match(complaints.join('\n'), /Content Security Policy/);
  await context.close();
});
