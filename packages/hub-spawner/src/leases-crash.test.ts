import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parseLeases } from './lease-table.js';

// One process that leases key after key and prints each uid once it may be used, until it is killed.
const WRITER = `
import { createLeaseStore } from ${JSON.stringify(new URL('./leases.js', import.meta.url).href)};
const nothing = () => {};
const store = createLeaseStore({
  file: process.argv[1],
  clock: { nowMs: () => 0, monotonicMs: () => 0 },
  log: { notice: nothing },
  readTakenUids: async () => async () => false,
  findHomes: async () => [],
});
for (let index = 0; ; index++) {
  const { uid } = await store.lease('k' + index, 'pam:' + index, { min: 70000, max: 99999 });
  process.stdout.write('k' + index + ' ' + uid + '\\n');
}`;

t.test('a process killed while it leases loses no lease that it has given', async (t) => {
  const file = join(t.testdir(), 'leases.json');
  const given = new Map<string, number>();
  for (let round = 0; round < 8; round++) {
    const writer = spawn(process.execPath, ['--input-type=module', '--eval', WRITER, file], {
      cwd: fileURLToPath(new URL('.', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    let atLeast = given.size + 3 + round;
    writer.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.split('\n').length > atLeast) {
        atLeast = Number.POSITIVE_INFINITY;
        writer.kill('SIGKILL');
      }
    });
    await once(writer, 'close');
    const lines = output.split('\n').slice(0, -1);
    t.ok(lines.length > 0);
    const { byKey } = parseLeases(readFileSync(file, 'utf8'));
    for (const line of lines) {
      const [key = '', uid = ''] = line.split(' ');
      t.equal(given.get(key) ?? Number(uid), Number(uid), 'the same uid as before');
      given.set(key, Number(uid));
    }
    const stored = new Map([...byKey.values()].map((lease) => [String(lease.key), lease.uid]));
    for (const [key, uid] of given) t.equal(stored.get(key), uid);
  }
});
