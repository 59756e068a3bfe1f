import { join } from 'node:path';
import t from 'tap';
import { readTakenUids } from './uid-taken.js';

t.test('numbers of accounts and groups, and those that somebody may act as, are taken', async (t) => {
  const directory = t.testdir({ subuid: 'anna:3000000000:10\n' });
  const files = ['subuid', 'subgid'].map((name) => join(directory, name));
  const isUidTaken = await readTakenUids(files);
  t.equal(await isUidTaken(0), true);
  for (const uid of [3_000_000_000, 3_000_000_009]) t.equal(await isUidTaken(uid), true, `${uid}`);
  for (const uid of [2_999_999_999, 3_000_000_010]) t.equal(await isUidTaken(uid), false, `${uid}`);
});
