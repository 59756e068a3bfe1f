import { chmodSync, chownSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { requireRootOwned } from './root-owned.js';

const skip = process.getuid?.() === 0 ? false : 'only root can make what belongs to root';

t.test(
  'files and directories of root that nobody else can write to pass, and so does what is not there',
  { skip },
  async (t) => {
    const directory = t.testdir({ sub: { file: '' } });
    requireRootOwned(join(directory, 'sub/file'));
    requireRootOwned(join(directory, 'sub/missing/deeper'));
  },
);

t.test('S03: a file, a directory above it, or its owner being another’s is refused by name', { skip }, async (t) => {
  const directory = t.testdir({ sub: { file: '' } });
  const file = join(directory, 'sub/file');
  for (const mode of [0o664, 0o646]) {
    chmodSync(file, mode);
    t.throws(() => requireRootOwned(file), { code: 'MH_ERR_CONFIG_FILE', details: { file } });
  }
  chmodSync(file, 0o644);
  chmodSync(join(directory, 'sub'), 0o775);
  t.throws(() => requireRootOwned(file), {
    code: 'MH_ERR_CONFIG_FILE',
    details: { file: join(directory, 'sub') },
    hint: /chmod go-w/,
  });
  chmodSync(join(directory, 'sub'), 0o755);
  chownSync(file, 1000, 0);
  t.throws(() => requireRootOwned(file), {
    code: 'MH_ERR_CONFIG_FILE',
    details: { file, reason: 'belongs to uid 1000' },
  });
});

t.test('links are followed, and checked where they lead', { skip }, async (t) => {
  const directory = t.testdir({ open: { file: '' }, closed: { file: '' } });
  chmodSync(join(directory, 'open'), 0o777);
  symlinkSync('open/file', join(directory, 'astray'));
  symlinkSync(join(directory, 'closed/file'), join(directory, 'fine'));
  symlinkSync('loop', join(directory, 'loop'));
  requireRootOwned(join(directory, 'fine'));
  t.throws(() => requireRootOwned(join(directory, 'astray')), {
    code: 'MH_ERR_CONFIG_FILE',
    details: { file: join(directory, 'open') },
  });
  t.throws(() => requireRootOwned(join(directory, 'loop')), {
    code: 'MH_ERR_CONFIG_FILE',
    details: { reason: 'too many symbolic links' },
  });
});
