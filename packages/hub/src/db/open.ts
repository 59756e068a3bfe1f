import { accessSync, constants, existsSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { Database } from './database.js';
import { MIGRATIONS, migrate } from './migrate.js';

const BUSY_TIMEOUT_MS = 5000;
const SYNCHRONOUS_FULL = 2;
/** SQLite's index of its log takes 32 KiB, the log itself some pages. */
const NEEDED_BYTES = 64 * 1024;

/**
 * Opens the hub's database, creates or migrates it, and makes sure that what is committed survives a power cut.
 * @throws {MH_ERR_HUB_DATABASE_NEWER} {MH_ERR_HUB_DATABASE}
 */
export async function openDatabase(file: string, migrations: readonly string[] = MIGRATIONS): Promise<Database> {
  const wasCutOff = existsSync(`${file}-wal`);
  const database = await Database.open(file).catch((error: unknown) => {
    throw explained(error, dirname(file));
  });
  try {
    await database.execute(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    await requirePragma(database, 'journal_mode', 'wal', 'WAL');
    await requirePragma(database, 'synchronous', SYNCHRONOUS_FULL, 'FULL');
    await requirePragma(database, 'foreign_keys', 1, 'ON');
    await requirePragma(database, 'trusted_schema', 0, 'OFF');
    if (wasCutOff) await requireIntegrity(database, file);
    await migrate(database, file, migrations);
    return database;
  } catch (error) {
    await database.close().catch(() => undefined);
    throw explained(error, dirname(file));
  }
}

/** SQLite says little of a disk that takes nothing. */
function explained(error: unknown, directory: string): unknown {
  if (!isDiskError(error)) return error;
  if (isFull(directory)) return fullDisk(directory, error);
  const refusal = findRefusal(directory);
  if (refusal === undefined) return error;
  const details = { reason: refusal === 'EROFS' ? `${directory} is read-only` : `${directory} cannot be written` };
  return new MetalhubError('MH_ERR_HUB_DATABASE', { details, hint: `look at: findmnt -T ${directory}`, cause: error });
}

/** What it calls a full disk, or one that is read-only, depends on what it was about to do. */
function isDiskError(error: unknown): boolean {
  if (!(error instanceof MetalhubError)) return false;
  return ['SQLITE_IOERR', 'SQLITE_FULL', 'SQLITE_CANTOPEN', 'SQLITE_READONLY'].includes(
    String(error.details['sqlite']),
  );
}

function isFull(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize < NEEDED_BYTES;
  } catch {
    // The database's own error says more.
    return false;
  }
}

/** Why nothing can be made there: a system's code. */
function findRefusal(directory: string): string | undefined {
  try {
    accessSync(directory, constants.W_OK);
    return undefined;
  } catch (error) {
    return systemErrorCode(error);
  }
}

function fullDisk(directory: string, cause: unknown): MetalhubError {
  const details = { reason: `no space is left on the disk that holds ${directory}` };
  return new MetalhubError('MH_ERR_HUB_DATABASE', { details, hint: `free space there: df -h ${directory}`, cause });
}

/** Sets and reads back: SQLite ignores silently what it was compiled without. */
async function requirePragma(database: Database, name: string, wanted: string | number, text: string): Promise<void> {
  await database.execute(`PRAGMA ${name} = ${text}`);
  const row = await database.find(`PRAGMA ${name}`);
  if (row?.[name] !== wanted) {
    throw new MetalhubError('MH_ERR_HUB_DATABASE', { details: { reason: `${name} could not be set to ${text}` } });
  }
}

async function requireIntegrity(database: Database, file: string): Promise<void> {
  const [first] = await database.all('PRAGMA quick_check(1)');
  if (first?.['quick_check'] === 'ok') return;
  throw new MetalhubError('MH_ERR_HUB_DATABASE', {
    details: { reason: 'it is damaged' },
    hint: `stop the hub, move ${file} and its -wal and -shm files away, put back a copy, start the hub`,
  });
}
