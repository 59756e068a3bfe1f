import type { Database, Transaction } from '../database.js';

/** So many addresses are remembered of each user. */
const MAX_SOURCES = 32;

export async function isKnownSource(database: Database, name: string, address: string): Promise<boolean> {
  const row = await database.find(
    'SELECT 1 AS known FROM login_sources JOIN users ON users.id = user_id WHERE users.name = ? AND address = ?',
    [name, address],
  );
  return row !== undefined;
}

export async function noteSource(
  transaction: Transaction,
  userId: number,
  address: string,
  nowMs: number,
): Promise<void> {
  await transaction.run('INSERT OR REPLACE INTO login_sources (user_id, address, last_ms) VALUES (?, ?, ?)', [
    userId,
    address,
    nowMs,
  ]);
  await transaction.run(
    `DELETE FROM login_sources WHERE user_id = ?1 AND address NOT IN
       (SELECT address FROM login_sources WHERE user_id = ?1 ORDER BY last_ms DESC LIMIT ?2)`,
    [userId, MAX_SOURCES],
  );
}
