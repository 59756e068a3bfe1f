import { chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { findHomes } from './homes.js';

const skip = process.getuid?.() === 0 ? false : 'only root can make what belongs to others';

t.test(
  'tells used homes from empty directories that root made, and leaves out what is no home',
  { skip },
  async (t) => {
    const root = t.testdir({ anna: {}, empty: {}, roots: { file: '' }, 'lost+found': {}, '.trash': {}, file: 'x' });
    chownSync(join(root, 'anna'), 65_534, 65_534);
    symlinkSync('/etc', join(root, 'link'));
    const found = (await findHomes(root)) ?? [];
    t.same(
      found.toSorted((a, b) => (a.key < b.key ? -1 : 1)),
      [
        { key: 'anna', uid: 65_534, isDirectory: true, isUsed: true },
        { key: 'empty', uid: 0, isDirectory: true, isUsed: false },
        { key: 'file', uid: 0, isDirectory: false, isUsed: true },
        { key: 'link', uid: 0, isDirectory: false, isUsed: true },
        { key: 'roots', uid: 0, isDirectory: true, isUsed: true },
      ],
    );
  },
);

t.test('no place for homes is told from one without homes; what cannot be read is an error', async (t) => {
  const root = t.testdir({});
  t.equal(await findHomes(join(root, 'none')), undefined);
  mkdirSync(join(root, 'homes'));
  t.same(await findHomes(join(root, 'homes')), []);
  writeFileSync(join(root, 'plain'), '');
  await t.rejects(findHomes(join(root, 'plain')), { code: 'MH_ERR_SPAWN_HOME' });
});
