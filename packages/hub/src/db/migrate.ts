import { unlink } from 'node:fs/promises';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Database } from './database.js';
import { init } from './migrations/001-init.js';
import { base } from './migrations/002-base.js';
import { choices } from './migrations/003-choices.js';
import { serverLife } from './migrations/004-server-life.js';

/** In order; the position is the version, from 1. */
export const MIGRATIONS: readonly string[] = [init, base, choices, serverLife];

/**
 * Brings the schema to the newest version, each step one transaction with a copy of the file made before it.
 * @returns the version found
 * @throws {MH_ERR_HUB_DATABASE_NEWER} {MH_ERR_HUB_DATABASE}
 */
export async function migrate(
  database: Database,
  file: string,
  migrations: readonly string[] = MIGRATIONS,
): Promise<number> {
  await database.execute(
    'CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_ms INTEGER NOT NULL) STRICT',
  );
  const row = await database.find('SELECT max(version) AS version FROM schema_version');
  const found = typeof row?.['version'] === 'number' ? row['version'] : 0;
  if (found > migrations.length) {
    throw new MetalhubError('MH_ERR_HUB_DATABASE_NEWER', {
      details: { file, found, known: migrations.length },
      hint: `install the newer version of metalhub again, or put back a copy: ${file}.before-*`,
    });
  }
  for (const [index, sql] of migrations.entries()) {
    const version = index + 1;
    if (version <= found) continue;
    if (found > 0) await backUp(database, `${file}.before-${String(version).padStart(3, '0')}`);
    await database.write(async (transaction) => {
      await transaction.execute(sql);
      await transaction.run('INSERT INTO schema_version (version, applied_ms) VALUES (?, ?)', [version, Date.now()]);
    });
  }
  return found;
}

/** A copy left by an attempt that failed is replaced: it shows the same state. */
async function backUp(database: Database, copy: string): Promise<void> {
  await unlink(copy).catch(() => undefined);
  await database.execute(`VACUUM INTO '${copy.replaceAll("'", "''")}'`);
}
