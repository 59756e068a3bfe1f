import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';

/** Appends a short line and then a long one, in a process that may write files of 1024 bytes; then the short one again. */
const PROGRAM = `
import { JournalFile } from ${JSON.stringify(new URL('./state-journal.js', import.meta.url).href)};
const file = new JournalFile(process.argv[1], 0);
for (const line of ['first', 'x'.repeat(3000), 'last']) {
  try {
    await file.append(line + '\\n');
    console.log('stored');
  } catch (error) {
    console.log(error.code);
  }
}
`;

t.test('R07: what only a part of fits on the disk is refused, and nothing of it stays', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'state-journal-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'state.journal');
  // Without the environment, by which a runner of tests would have the process write files of its own.
  const limited = 'ulimit -f 1; exec env -i "$0" --input-type=module -e "$1" "$2"';
  const { stdout, stderr } = spawnSync('bash', ['-c', limited, process.execPath, PROGRAM, path], { encoding: 'utf8' });
  t.equal(stdout, 'stored\nENOSPC\nstored\n', stderr);
  t.equal(readFileSync(path, 'utf8'), 'first\nlast\n');
  t.equal(statSync(path).mode & 0o777, 0o600);
});
