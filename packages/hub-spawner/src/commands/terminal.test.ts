import { closeSync, openSync } from 'node:fs';
import * as nodePty from 'node-pty';
import t, { type Test } from 'tap';
import { requireOwnTerminal } from './terminal.js';

/** Not in its types. */
const native = Reflect.get(nodePty, 'native') as {
  open(columns: number, rows: number): { master: number; slave: number };
};
const uid = process.getuid?.() ?? 0;

function openPair(t: Test): { master: number; slave: number } {
  const { master, slave } = native.open(80, 24);
  t.teardown(() => {
    closeSync(master);
    closeSync(slave);
  });
  return { master, slave };
}

t.test('a pseudo-terminal of the caller’s is known by its path', async (t) => {
  const { slave } = openPair(t);
  t.match(await requireOwnTerminal(slave, uid), /^\/dev\/pts\/[0-9]+$/);
});

t.test('anybody else’s terminal, and what is none, is refused', async (t) => {
  const { master, slave } = openPair(t);
  const refused = { code: 'MH_ERR_SPAWN_DESCRIPTORS' };
  await t.rejects(requireOwnTerminal(slave, uid + 1), { ...refused, message: /somebody else/ });
  await t.rejects(requireOwnTerminal(master, uid), refused, 'the other side');
  for (const path of ['/dev/null', '/', '/etc/passwd']) {
    const fd = openSync(path, 'r');
    await t.rejects(requireOwnTerminal(fd, uid), { ...refused, message: /not a pseudo-terminal/ }, path);
    closeSync(fd);
  }
  await t.rejects(requireOwnTerminal(9999, uid), refused, 'not open');
});
