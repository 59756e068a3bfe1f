import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import sqlite3 from 'sqlite3';

export type SqlValue = string | number | Buffer | null;
export type Row = Readonly<Record<string, unknown>>;

/** Bound of every list: nothing a visitor can grow is read without one. */
export const MAX_ROWS = 20_000;

/**
 * A thin promise layer over one connection.
 *
 * Reads may run at any time. Writes are queued one transaction after the other, because on one connection a statement
 * of another caller would otherwise become part of the transaction that happens to be open.
 */
export class Database {
  readonly #handle: sqlite3.Database;
  #lastWrite: Promise<unknown> = Promise.resolve();

  private constructor(handle: sqlite3.Database) {
    this.#handle = handle;
  }

  /** @throws {MH_ERR_HUB_DATABASE} */
  static open(file: string): Promise<Database> {
    return new Promise((resolve, reject) => {
      const mode = sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE | sqlite3.OPEN_FULLMUTEX;
      const handle = new sqlite3.Database(file, mode, (error) => {
        if (error === null) resolve(new Database(handle));
        else reject(databaseError(error));
      });
    });
  }

  /** @throws {MH_ERR_HUB_DATABASE} */
  all(sql: string, parameters: readonly SqlValue[] = []): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#handle.all(sql, parameters, (error, rows: Row[]) => {
        if (error === null) resolve(rows);
        else reject(databaseError(error));
      });
    });
  }

  async find(sql: string, parameters: readonly SqlValue[] = []): Promise<Row | undefined> {
    const [row] = await this.all(sql, parameters);
    return row;
  }

  /**
   * Runs `work` as one transaction: all of it is stored, durably, or nothing is.
   * @throws {MH_ERR_HUB_DATABASE} and whatever `work` throws
   */
  write<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const result = this.#lastWrite.then(() => this.#transact(work));
    this.#lastWrite = result.catch(() => undefined);
    return result;
  }

  /** Outside of any transaction; for PRAGMA and VACUUM at the start. */
  execute(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#handle.exec(sql, (error) => {
        if (error === null) resolve();
        else reject(databaseError(error));
      });
    });
  }

  async close(): Promise<void> {
    await this.#lastWrite;
    await new Promise<void>((resolve, reject) => {
      this.#handle.close((error) => {
        if (error === null) resolve();
        else reject(databaseError(error));
      });
    });
  }

  async #transact<T>(work: (transaction: Transaction) => Promise<T>): Promise<T> {
    await this.execute('BEGIN IMMEDIATE');
    try {
      const result = await work({
        run: (sql, parameters) => this.#run(sql, parameters),
        all: (sql, parameters) => this.all(sql, parameters),
        find: (sql, parameters) => this.find(sql, parameters),
        execute: (sql) => this.execute(sql),
      });
      await this.execute('COMMIT');
      return result;
    } catch (error) {
      // A full disk may have rolled back already; then there is nothing left to undo.
      await this.execute('ROLLBACK').catch(() => undefined);
      throw error;
    }
  }

  #run(sql: string, parameters: readonly SqlValue[] = []): Promise<{ lastId: number; changes: number }> {
    return new Promise((resolve, reject) => {
      this.#handle.run(sql, parameters, function done(error) {
        if (error === null) resolve({ lastId: this.lastID, changes: this.changes });
        else reject(databaseError(error));
      });
    });
  }
}

export interface Transaction {
  run(sql: string, parameters?: readonly SqlValue[]): Promise<{ lastId: number; changes: number }>;
  all(sql: string, parameters?: readonly SqlValue[]): Promise<Row[]>;
  find(sql: string, parameters?: readonly SqlValue[]): Promise<Row | undefined>;
  execute(sql: string): Promise<void>;
}

const REASONS: Readonly<Record<string, string>> = {
  SQLITE_FULL: 'no space is left on the disk',
  SQLITE_READONLY: 'it is read-only',
  SQLITE_BUSY: 'another program holds it',
  SQLITE_IOERR: 'the disk reports an error',
  SQLITE_CANTOPEN: 'the file cannot be opened',
  SQLITE_CORRUPT: 'it is damaged',
  SQLITE_NOTADB: 'the file is not a database',
};

/** SQLite's text may quote values, so only what it is about is shown; the cause goes into the log. */
function databaseError(cause: unknown): MetalhubError {
  const code = systemErrorCode(cause) ?? '';
  const reason = REASONS[code] ?? (code === '' ? errorText(cause) : code);
  return new MetalhubError('MH_ERR_HUB_DATABASE', { details: { reason, sqlite: code }, cause });
}
