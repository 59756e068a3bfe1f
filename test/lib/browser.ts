import { mkdirSync } from 'node:fs';
import { type Browser, type BrowserContext, chromium, type Locator, type Page } from 'playwright-core';

export const PUBLIC_URL = 'http://localhost:8000';

/** Debian's Chromium in the network that this process is in at the moment. */
export async function launchBrowser(options: { readonly args?: readonly string[] } = {}): Promise<Browser> {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...(options.args ?? []),
    ],
  });
}

/**
 * A browser profile of its own: cookies of one visitor.
 * @param baseUrl its certificate, if any, need not be one that browsers know
 */
export async function newVisitor(browser: Browser, baseUrl = PUBLIC_URL): Promise<BrowserContext> {
  const viewport = { width: 1280, height: 800 };
  const context = await browser.newContext({ viewport, baseURL: baseUrl, ignoreHTTPSErrors: true });
  context.setDefaultTimeout(30_000);
  return context;
}

export async function logIn(page: Page, name: string, password: string, path = '/'): Promise<void> {
  await page.goto(path);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** From the home page to JupyterLab's launcher. */
export async function startServer(page: Page): Promise<void> {
  await page.getByRole('button', { name: /^(Start|Try again)$/ }).click();
  await page.waitForURL(/\/user\/[^/]+\/lab/, { timeout: 90_000 });
  await page.locator('#main.jp-LabShell, #jp-main-dock-panel').first().waitFor({ timeout: 90_000 });
}

/** Opens a new notebook with the Python kernel and waits for the kernel. */
export async function newNotebook(page: Page): Promise<void> {
  await page.locator('.jp-LauncherCard[data-category="Notebook"]').first().click();
  await page.locator('.jp-Notebook .jp-Cell').first().waitFor();
  await page
    .locator('.jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status="idle"]')
    .waitFor({ timeout: 60_000 });
}

/** Saves the open notebook; the first time JupyterLab asks for a name. */
export async function saveNotebook(page: Page): Promise<void> {
  await page.keyboard.press('Control+s');
  const rename = page.locator('dialog.jp-Dialog button.jp-mod-accept');
  await rename.click({ timeout: 3000 }).catch(() => undefined);
  await page.waitForFunction(
    () => document.querySelector('.jp-Dialog, .jp-mod-dirty, .jp-Document.jp-mod-dirty') === null,
  );
}

/** Runs code in the last cell of the open notebook and returns the text of its output. */
export async function runCell(page: Page, code: string): Promise<string> {
  const cells = page.locator('.jp-Notebook .jp-CodeCell');
  const cell = cells.nth((await cells.count()) - 1);
  await cell.locator('.cm-content').click();
  // In one line, because the editor would indent further ones by itself.
  const line = code.includes('\n')
    ? `exec(__import__("base64").b64decode("${Buffer.from(code).toString('base64')}"))`
    : code;
  await page.keyboard.insertText(line);
  await runSelected(page, cell);
  const output = cell.locator('.jp-OutputArea-output').first();
  await output.waitFor({ timeout: 60_000 });
  return (await output.innerText()).trim();
}

/** JupyterLab connects to a new kernel twice and forgets what was run in between, so it may have to be run again. */
async function runSelected(page: Page, cell: Locator): Promise<void> {
  const prompt = cell.locator('.jp-InputPrompt');
  for (let tries = 0; tries < 5; tries++) {
    await page.keyboard.press('Shift+Enter');
    await page.waitForTimeout(1000);
    if (!/\[ \]/.test(await prompt.innerText())) return;
    await cell.locator('.cm-content').click();
  }
}

/** A picture for a person to look at, when METALHUB_SCREENSHOTS names a directory. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const directory = process.env['METALHUB_SCREENSHOTS'];
  if (directory === undefined) return;
  mkdirSync(directory, { recursive: true });
  await page.screenshot({ path: `${directory}/${name}.png` });
}
