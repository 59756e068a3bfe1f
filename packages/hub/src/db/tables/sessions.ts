import { integer, object, type Shape, text } from '@metalhub/base/shape.js';
import type { Database, Row, Transaction } from '../database.js';
import { readUser, USER_COLUMNS, type User } from './users.js';

export interface Session {
  /** 32 hex digits, public: it stands in tickets and in the log. */
  readonly id: string;
  readonly createdMs: number;
  readonly expiresMs: number;
  readonly lastSeenMs: number;
  readonly address: string;
}

export interface StoredSession {
  session: Session;
  user: User;
  secretHash: Buffer;
}

const isBuffer: Shape<Buffer> = (value, path) => {
  if (Buffer.isBuffer(value)) return value;
  throw new TypeError(`${path} is not a blob`);
};
const time = integer(0, Number.MAX_SAFE_INTEGER);
const sessionRow = object({
  session_id: text({ max: 32 }),
  secret_hash: isBuffer,
  session_created_ms: time,
  expires_ms: time,
  last_seen_ms: time,
  address: text({ max: 64 }),
});
const COLUMNS = `sessions.id AS session_id, secret_hash, sessions.created_ms AS session_created_ms, expires_ms, last_seen_ms, address`;

export async function findSession(database: Database, id: string): Promise<StoredSession | undefined> {
  const row = await database.find(
    `SELECT ${COLUMNS}, ${USER_COLUMNS} FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.id = ?`,
    [id],
  );
  return row && readStored(row);
}

function readStored(row: Row): StoredSession {
  const { session_id, secret_hash, session_created_ms, expires_ms, last_seen_ms, address, ...user } = row;
  const own = sessionRow(
    { session_id, secret_hash, session_created_ms, expires_ms, last_seen_ms, address },
    'sessions',
  );
  const session = {
    id: own.session_id,
    createdMs: own.session_created_ms,
    expiresMs: own.expires_ms,
    lastSeenMs: own.last_seen_ms,
    address: own.address,
  };
  return { session, user: readUser(user), secretHash: own.secret_hash };
}

export async function insertSession(
  transaction: Transaction,
  session: Session,
  owner: { userId: number; secretHash: Buffer; base: string },
): Promise<void> {
  await transaction.run(
    'INSERT INTO sessions (id, secret_hash, user_id, created_ms, expires_ms, last_seen_ms, address, base) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    [
      session.id,
      owner.secretHash,
      owner.userId,
      session.createdMs,
      session.expiresMs,
      session.lastSeenMs,
      session.address,
      owner.base,
    ],
  );
}

/** Keeps the newest `max` sessions of a user; returns the ids of those that went. */
export async function trimSessions(transaction: Transaction, userId: number, max: number): Promise<string[]> {
  const rows = await transaction.all(
    'SELECT id FROM sessions WHERE user_id = ? ORDER BY created_ms DESC, rowid DESC LIMIT 1000 OFFSET ?',
    [userId, max],
  );
  const ids = rows.map((row) => String(row['id']));
  for (const id of ids) await deleteSession(transaction, id);
  return ids;
}

export async function touchSession(transaction: Transaction, id: string, nowMs: number): Promise<void> {
  await transaction.run('UPDATE sessions SET last_seen_ms = ? WHERE id = ?', [nowMs, id]);
}

export async function deleteSession(transaction: Transaction, id: string): Promise<boolean> {
  const { changes } = await transaction.run('DELETE FROM sessions WHERE id = ?', [id]);
  return changes > 0;
}

/** Those of a user that began below another base; returns their ids. */
export async function deleteSessionsElsewhere(
  transaction: Transaction,
  userId: number,
  base: string,
): Promise<string[]> {
  const rows = await transaction.all('DELETE FROM sessions WHERE user_id = ? AND base <> ? RETURNING id', [
    userId,
    base,
  ]);
  return rows.map((row) => String(row['id']));
}

export async function deleteExpiredSessions(transaction: Transaction, beforeMs: number): Promise<number> {
  const { changes } = await transaction.run('DELETE FROM sessions WHERE expires_ms < ?', [beforeMs]);
  return changes;
}
