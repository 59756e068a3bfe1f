import { mkdtempSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { writeFileAtomic } from './files.js';

t.test('writeFileAtomic', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'metalhub-files-'));
  const path = join(directory, 'state.json');
  t.test('writes with the mode told, whatever the umask, and leaves nothing else behind', async (t) => {
    const umask = process.umask(0o077);
    t.teardown(() => process.umask(umask));
    await writeFileAtomic(path, 'one', { mode: 0o644 });
    t.equal(statSync(path).mode & 0o7777, 0o644);
    await writeFileAtomic(path, Buffer.from('two'), { mode: 0o600 });
    t.equal(readFileSync(path, 'utf8'), 'two');
    t.equal(statSync(path).mode & 0o7777, 0o600);
    t.same(readdirSync(directory), ['state.json']);
  });
  t.test('replaces a symbolic link instead of following it', async (t) => {
    const victim = join(directory, 'victim');
    const link = join(directory, 'link');
    writeFileSync(victim, 'mine');
    symlinkSync(victim, link);
    await writeFileAtomic(link, 'new', { mode: 0o600 });
    t.equal(readFileSync(victim, 'utf8'), 'mine');
    t.equal(readFileSync(link, 'utf8'), 'new');
  });
  t.test('leaves the old file and no temporary one when it fails', async (t) => {
    const before = readdirSync(directory);
    await t.rejects(writeFileAtomic(path, 'x', { mode: 0o600, uid: -7 }));
    t.equal(readFileSync(path, 'utf8'), 'two');
    t.same(readdirSync(directory), before);
  });
  t.test('gives the owner told', { skip: process.getuid?.() !== 0 }, async (t) => {
    await writeFileAtomic(path, 'x', { mode: 0o640, uid: 12, gid: 34 });
    t.match(statSync(path), { uid: 12, gid: 34, mode: 0o100640 });
  });
  t.end();
});
