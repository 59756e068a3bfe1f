import { createPrivateKey } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { ensureSecret, ensureSecrets } from './secrets.js';

const NAMES = ['cookie-key', 'server-token-key', 'ticket-key'];

t.test('makes every secret, readable by its owner only', async (t) => {
  const directory = join(t.testdir(), 'secrets');
  t.same((await ensureSecrets(directory)).sort(), NAMES);
  t.same((await readdir(directory)).sort(), NAMES);
  t.equal((await stat(directory)).mode & 0o777, 0o700);
  for (const name of NAMES) t.equal((await stat(join(directory, name))).mode & 0o777, 0o600, name);
});

t.test('the ticket key is an Ed25519 key, the others are 32 bytes', async (t) => {
  const directory = t.testdir();
  await ensureSecrets(directory);
  const key = createPrivateKey(await readFile(join(directory, 'ticket-key')));
  t.equal(key.asymmetricKeyType, 'ed25519');
  const texts: string[] = [];
  for (const name of ['cookie-key', 'server-token-key']) {
    const text = await readFile(join(directory, name), 'utf8');
    t.match(text, /^[A-Za-z0-9_-]{43}\n$/);
    t.equal(Buffer.from(text.trim(), 'base64url').length, 32);
    texts.push(text);
  }
  t.not(texts[0], texts[1]);
});

t.test('D01: a second run changes nothing', async (t) => {
  const directory = t.testdir();
  await ensureSecrets(directory);
  const before = await Promise.all(NAMES.map((name) => readFile(join(directory, name), 'utf8')));
  t.same(await ensureSecrets(directory), []);
  t.same(await Promise.all(NAMES.map((name) => readFile(join(directory, name), 'utf8'))), before);
});

t.test('D01: a run after an interrupted one makes what is missing and removes the half-written', async (t) => {
  const directory = t.testdir({ 'cookie-key': 'kept\n', '.ticket-key.0123456789ab.tmp': 'half' });
  t.same((await ensureSecrets(directory)).sort(), ['server-token-key', 'ticket-key']);
  t.same((await readdir(directory)).sort(), NAMES);
  t.equal(await readFile(join(directory, 'cookie-key'), 'utf8'), 'kept\n');
});

t.test('leaves a secret alone that is a link, even a dangling one', async (t) => {
  const directory = t.testdir();
  const elsewhere = join(directory, 'elsewhere');
  await symlink(elsewhere, join(directory, 'cookie-key'));
  await ensureSecrets(directory);
  await t.rejects(stat(elsewhere), { code: 'ENOENT' });
});

t.test('does not touch the mode of a directory that is there, nor other files in it', async (t) => {
  const directory = join(t.testdir(), 'secrets');
  await mkdir(directory);
  await chmod(directory, 0o750);
  await writeFile(join(directory, '.other.tmp'), '');
  await ensureSecrets(directory);
  t.equal((await stat(directory)).mode & 0o777, 0o750);
  t.ok((await readdir(directory)).includes('.other.tmp'));
});

t.test('an optional secret is made when it is asked for, once', async (t) => {
  const directory = t.testdir();
  await ensureSecret('proxy-api-token', directory);
  const text = await readFile(join(directory, 'proxy-api-token'), 'utf8');
  t.match(text, /^[A-Za-z0-9_-]{43}\n$/);
  t.equal((await stat(join(directory, 'proxy-api-token'))).mode & 0o777, 0o600);
  await ensureSecret('proxy-api-token', directory);
  t.equal(await readFile(join(directory, 'proxy-api-token'), 'utf8'), text);
});
