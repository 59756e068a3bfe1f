import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkHome, type HomePlaces } from './home.js';

const UID = 70_001;
const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : 'only root can make what belongs to others';

function places(
  t: { testdir(fixture: Record<string, string | Record<string, never | Record<string, never>>>): string },
  hardlinks = '1\n',
): HomePlaces {
  const root = t.testdir({ private: { home: {} }, home: {}, mountinfo: '', protected: hardlinks });
  return {
    directory: join(root, 'private/home/anna'),
    link: join(root, 'home/anna'),
    mountInfo: join(root, 'mountinfo'),
    protectedHardlinks: join(root, 'protected'),
  };
}

function makeHome({ directory }: HomePlaces, uid: number): void {
  mkdirSync(directory);
  chownSync(directory, uid, uid);
}

t.test('a home that is not there is systemd’s to make', { skip }, async (t) => {
  t.equal(await checkHome(places(t)), undefined);
});

t.test('of one that is there it is told whose it is and which, with the right link too', { skip }, async (t) => {
  for (const uid of [65_534, UID, 0]) {
    const at = places(t);
    makeHome(at, uid);
    symlinkSync('../private/home/anna', at.link);
    const { ino } = lstatSync(at.directory);
    t.match(await checkHome(at), { uid, gid: uid, inode: String(ino), bornNs: /^[0-9]+$/, isNew: uid === 0 });
    writeFileSync(join(at.directory, 'file'), '');
    t.match(await checkHome(at), { isNew: false });
  }
});

t.test('S07: a link and a file are refused', { skip }, async (t) => {
  const link = places(t);
  symlinkSync('/etc', link.directory);
  await t.rejects(checkHome(link), {
    code: 'MH_ERR_SPAWN_HOME',
    details: { reason: 'it is a symbolic link' },
    hint: /^move it away/,
  });
  const file = places(t);
  writeFileSync(file.directory, '');
  await t.rejects(checkHome(file), { code: 'MH_ERR_SPAWN_HOME', details: { reason: 'it is not a directory' } });
});

t.test('S07: a mount on it is refused, also one of the same file system', { skip }, async (t) => {
  const at = places(t);
  makeHome(at, UID);
  writeFileSync(at.mountInfo, `40 22 254:0 /srv ${at.directory} rw - ext4 /dev/vda rw\n`);
  await t.rejects(checkHome(at), { code: 'MH_ERR_SPAWN_HOME', details: { reason: 'something is mounted on it' } });
});

t.test('S07: a link to the home that leads elsewhere, or is no link, is refused', { skip }, async (t) => {
  const astray = places(t);
  symlinkSync('../private/home/bob', astray.link);
  await t.rejects(checkHome(astray), { code: 'MH_ERR_SPAWN_HOME', details: { path: astray.link } });
  const directory = places(t);
  mkdirSync(directory.link);
  await t.rejects(checkHome(directory), {
    code: 'MH_ERR_SPAWN_HOME',
    details: { reason: 'it is not the link that systemd makes' },
  });
});

t.test('S07: parents that others own or can write to are refused', { skip }, async (t) => {
  const writable = places(t);
  chmodSync(join(writable.directory, '..'), 0o777);
  await t.rejects(checkHome(writable), {
    code: 'MH_ERR_SPAWN_HOME',
    details: { reason: 'others than root can write to it' },
  });
  const owned = places(t);
  chownSync(join(owned.directory, '../..'), 1000, 1000);
  await t.rejects(checkHome(owned), { code: 'MH_ERR_SPAWN_HOME', details: { reason: 'it belongs to uid 1000' } });
});

t.test('S08: without protection of hard links no existing home is handed to systemd', { skip }, async (t) => {
  for (const value of ['0\n', '']) {
    const at = places(t, value);
    t.equal(await checkHome(at), undefined);
    makeHome(at, UID);
    await t.rejects(checkHome(at), { code: 'MH_ERR_SPAWN_HOME', hint: /sysctl -w fs.protected_hardlinks=1/ });
    t.ok(existsSync(at.directory));
  }
});
