import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { createLog, pinoDestination } from './journal.js';
import type { JournalEntry } from './journal-fields.js';
import { encodeEntry, openJournal } from './journal-socket.js';
import { receiveDatagrams } from './receive-datagrams.js';

t.test('createLog', (t) => {
  t.test('writes what is important enough, with the fields of its parents', (t) => {
    const entries: JournalEntry[] = [];
    const log = createLog({ identifier: 'hub', level: 'notice', sink: (entry) => entries.push(entry) });
    log.info('not this');
    log.child({ user: 'ada' }).warning('this', { server: 'x' });
    t.same(entries, [{ identifier: 'hub', priority: 4, message: 'this', fields: { user: 'ada', server: 'x' } }]);
    t.end();
  });
  t.test('writes a line of JSON to a stderr that is not the journal', (t) => {
    const module = new URL('journal.js', import.meta.url).href;
    const script = `import { createLog } from '${module}'; createLog({ identifier: 'hub' }).notice('hi', { user: 'a', token: 'x' });`;
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    t.match(JSON.parse(stderr), { level: 'notice', identifier: 'hub', msg: 'hi', user: 'a', token: '[redacted]' });
    t.end();
  });
  t.end();
});

t.test('pinoDestination turns pino lines into entries', (t) => {
  const entries: JournalEntry[] = [];
  const destination = pinoDestination('hub', (entry) => entries.push(entry));
  destination.write('{"level":35,"time":1,"pid":2,"hostname":"h","user":"ada","msg":"logged in"}\n');
  destination.write('{"level":60,"msg":"a"}\n{"level":20}\nnot json\n');
  t.same(entries, [
    { identifier: 'hub', priority: 5, message: 'logged in', fields: { user: 'ada' } },
    { identifier: 'hub', priority: 2, message: 'a', fields: {} },
    { identifier: 'hub', priority: 7, message: '', fields: {} },
    { identifier: 'hub', priority: 6, message: 'not json', fields: {} },
  ]);
  t.end();
});

t.test('encodeEntry frames a value with line breaks by its length', (t) => {
  const bytes = encodeEntry([
    ['PRIORITY', '3'],
    ['MESSAGE', 'é\nb'],
  ]);
  t.same(
    bytes,
    Buffer.concat([Buffer.from('PRIORITY=3\nMESSAGE\n'), Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('é\nb\n')]),
  );
  t.end();
});

t.test('openJournal', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'metalhub-journal-'));
  t.test('sends entries, and the largest possible one', async (t) => {
    const path = join(directory, 'a');
    const receiver = await receiveDatagrams(path);
    t.teardown(() => receiver.close());
    const journal = openJournal(path);
    t.ok(journal([['MESSAGE', 'hello']]));
    t.equal((await receiver.next()).toString(), 'MESSAGE=hello\n');
    t.ok(journal(Array.from({ length: 100 }, (_, index) => [`F${index}`, 'x'.repeat(4096)] as const)));
    t.ok((await receiver.next()).length > 100_000);
  });
  t.test('does not hang on a journal that does not read, and says how much it dropped', async (t) => {
    const path = join(directory, 'b');
    const receiver = await receiveDatagrams(path, 'deaf');
    t.teardown(() => receiver.close());
    const journal = openJournal(path);
    const startMs = performance.now();
    for (let count = 0; count < 3000; count++) journal([['MESSAGE', 'x']]);
    t.ok(performance.now() - startMs < 5000);
  });
  t.test('says that there is no journal', (t) => {
    t.equal(openJournal(join(directory, 'none'))([['MESSAGE', 'x']]), false);
    t.end();
  });
  t.end();
});
