import { lstatSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseKey, parseServerName, serverId } from '@metalhub/base/names.js';
import t from 'tap';
import { listCredentials, removeCredential, writeCredential } from './credentials.js';

const id = serverId(parseKey('anna'), parseServerName('gpu'));
const credential = {
  token: 'x'.repeat(43),
  base_url: '/user/anna/gpu/',
  default_url: '/lab',
  home_checked_at_ms: null,
};

t.test('a credential can be read by its owner only, is replaced by the next, and is gone when removed', async (t) => {
  const root = join(t.testdir(), 'cred');
  t.same(await listCredentials(root), []);
  const file = await writeCredential(id, credential, root);
  t.equal(file, join(root, 'anna:gpu', 'server.json'));
  t.equal(lstatSync(file).mode & 0o777, 0o600);
  t.equal(lstatSync(join(root, 'anna:gpu')).mode & 0o777, 0o700);
  t.same(JSON.parse(readFileSync(file, 'utf8')), credential);
  await writeCredential(id, { ...credential, default_url: '/tree', home_checked_at_ms: null }, root);
  t.match(JSON.parse(readFileSync(file, 'utf8')), { default_url: '/tree', home_checked_at_ms: null });
  t.same(await listCredentials(root), ['anna:gpu']);
  await removeCredential(id, root);
  await removeCredential(id, root);
  t.same(await listCredentials(root), []);
});

t.test('a link in its place is replaced, not followed', async (t) => {
  const directory = t.testdir({ cred: { 'anna:gpu': {} }, other: 'untouched' });
  const file = join(directory, 'cred/anna:gpu/server.json');
  symlinkSync(join(directory, 'other'), file);
  await writeCredential(id, credential, join(directory, 'cred'));
  t.ok(lstatSync(file).isFile());
  t.equal(readFileSync(join(directory, 'other'), 'utf8'), 'untouched');
});
