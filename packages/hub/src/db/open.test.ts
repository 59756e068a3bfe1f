import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t from 'tap';
import { Database } from './database.js';
import { MIGRATIONS } from './migrate.js';
import { openDatabase } from './open.js';
import { listStoredServers } from './tables/servers.js';

function makeFile(test: { teardown: (end: () => void) => void }): string {
  const directory = mkdtempSync(join(tmpdir(), 'hub-db-'));
  test.teardown(() => rmSync(directory, { recursive: true }));
  return join(directory, 'hub.sqlite');
}

async function versionOf(database: Database): Promise<unknown> {
  return (await database.find('SELECT max(version) AS version FROM schema_version'))?.['version'];
}

t.test('a new database is made with the settings that keep what is committed', async (t) => {
  const database = await openDatabase(makeFile(t));
  t.teardown(() => database.close());
  t.equal(await versionOf(database), MIGRATIONS.length);
  t.match(await database.find('PRAGMA journal_mode'), { journal_mode: 'wal' });
  t.match(await database.find('PRAGMA synchronous'), { synchronous: 2 });
  t.match(await database.find('PRAGMA foreign_keys'), { foreign_keys: 1 });
  t.match(await database.find('PRAGMA trusted_schema'), { trusted_schema: 0 });
});

t.test('each later migration is one transaction with a copy made before it', async (t) => {
  const file = makeFile(t);
  const first = ['CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1)'];
  await (await openDatabase(file, first)).close();
  const broken = [
    ...first,
    'CREATE TABLE b (x INTEGER) STRICT',
    'CREATE TABLE c (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)',
  ];
  await t.rejects(openDatabase(file, broken), { code: 'MH_ERR_HUB_DATABASE' });
  t.same(
    readdirSync(join(file, '..'))
      .filter((name) => name.includes('before'))
      .sort(),
    ['hub.sqlite.before-002', 'hub.sqlite.before-003'],
  );

  const good = [...broken.slice(0, 2), 'CREATE TABLE c (x INTEGER) STRICT'];
  const database = await openDatabase(file, good);
  t.equal(await versionOf(database), 3, 'nothing was left of the half of the broken one');
  await database.close();

  const copy = await Database.open(`${file}.before-002`);
  t.teardown(() => copy.close());
  t.equal(await versionOf(copy), 1);
  t.match(await copy.find('SELECT x FROM a'), { x: 1 });
});

t.test('a server that ran before servers had a base has none', async (t) => {
  const file = makeFile(t);
  const before = await openDatabase(file, MIGRATIONS.slice(0, 1));
  await before.execute(`
    INSERT INTO users VALUES (1, 'pam', 'anna', 'anna', 0, 1, NULL);
    INSERT INTO servers VALUES (1, '', 'default', '${'a'.repeat(32)}', 1, 2, NULL)`);
  await before.close();
  const database = await openDatabase(file);
  t.teardown(() => database.close());
  t.match(await listStoredServers(database), [{ base: '', name: '', startId: 'a'.repeat(32), startedMs: 2 }]);
});

t.test('R11: a database of a newer version is refused and left alone', async (t) => {
  const file = makeFile(t);
  await (await openDatabase(file, ['SELECT 1', 'SELECT 2', 'SELECT 3'])).close();
  await t.rejects(openDatabase(file, ['SELECT 1']), {
    code: 'MH_ERR_HUB_DATABASE_NEWER',
    message: `database ${file} has schema 3, this version knows up to 1`,
    hint: /before-/,
  });
});

t.test('R07: a directory that cannot be written is named', async (t) => {
  const file = join(dirname(makeFile(t)), 'missing', 'hub.sqlite');
  await t.rejects(openDatabase(file), { code: 'MH_ERR_HUB_DATABASE', message: `${dirname(file)} cannot be written` });
});

t.test('a file that is no database is refused', async (t) => {
  const file = makeFile(t);
  writeFileSync(file, 'not a database, '.repeat(1000));
  await t.rejects(openDatabase(file), { code: 'MH_ERR_HUB_DATABASE', message: /not a database/ });
});

t.test('transactions do not mix, and one that throws leaves nothing', async (t) => {
  const database = await openDatabase(makeFile(t), ['CREATE TABLE a (x INTEGER) STRICT']);
  t.teardown(() => database.close());
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      database.write(async (transaction) => {
        await transaction.run('INSERT INTO a VALUES (?)', [index]);
        await new Promise((resolve) => setImmediate(resolve));
        if (index % 2 === 1) throw new Error('odd');
      }),
    ),
  );
  t.equal(results.filter(({ status }) => status === 'rejected').length, 10);
  t.same(await database.all('SELECT count(*) AS n, sum(x) AS sum FROM a'), [{ n: 10, sum: 90 }]);
});

t.test('R07: a full disk refuses writes with a reason and recovers by itself', async (t) => {
  const database = await openDatabase(makeFile(t), ['CREATE TABLE a (x TEXT) STRICT']);
  t.teardown(() => database.close());
  const insert = (): Promise<unknown> =>
    database.write((transaction) => transaction.run('INSERT INTO a VALUES (?)', ['x'.repeat(50_000)]));
  const pages = (await database.find('PRAGMA page_count'))?.['page_count'];
  await database.execute(`PRAGMA max_page_count = ${String(pages)}`);
  await t.rejects(insert(), { code: 'MH_ERR_HUB_DATABASE', message: /no space is left on the disk/ });
  t.same(await database.all('SELECT count(*) AS n FROM a'), [{ n: 0 }], 'reads go on');
  await database.execute('PRAGMA max_page_count = 100000');
  await insert();
  t.match(await database.all('PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
});

t.test('R07: a lock of another program is waited for, then refused', async (t) => {
  const file = makeFile(t);
  const database = await openDatabase(file, ['CREATE TABLE a (x INTEGER) STRICT']);
  const other = await Database.open(file);
  t.teardown(() => Promise.all([database.close(), other.close()]));
  await database.execute('PRAGMA busy_timeout = 50');
  await other.execute('BEGIN IMMEDIATE');
  const insert = (): Promise<unknown> => database.write((transaction) => transaction.run('INSERT INTO a VALUES (1)'));
  await t.rejects(insert(), { code: 'MH_ERR_HUB_DATABASE', message: /another program holds it/ });
  t.same(await database.all('SELECT count(*) AS n FROM a'), [{ n: 0 }]);
  await other.execute('COMMIT');
  await insert();
});
