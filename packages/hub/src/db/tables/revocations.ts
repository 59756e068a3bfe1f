import { integer, object, text } from '@metalhub/base/shape.js';
import { type Database, MAX_ROWS, type Transaction } from '../database.js';

/** A login session that ended: no ticket made from it counts any more. */
export interface Revocation {
  readonly sessionId: string;
  /** From then on all tickets of the session have expired by themselves. */
  readonly untilMs: number;
}

const revocationRow = object({ session_id: text({ max: 32 }), until_ms: integer(0, Number.MAX_SAFE_INTEGER) });

export async function insertRevocation(transaction: Transaction, revocation: Revocation): Promise<void> {
  await transaction.run('INSERT OR REPLACE INTO revocations (session_id, until_ms) VALUES (?, ?)', [
    revocation.sessionId,
    revocation.untilMs,
  ]);
}

/** Newest first, so that the bound loses what expires soonest. */
export async function listRevocations(database: Database): Promise<Revocation[]> {
  const rows = await database.all('SELECT session_id, until_ms FROM revocations ORDER BY until_ms DESC LIMIT ?', [
    MAX_ROWS,
  ]);
  return rows.map((row) => {
    const { session_id, until_ms } = revocationRow(row, 'revocations');
    return { sessionId: session_id, untilMs: until_ms };
  });
}

export async function deletePastRevocations(transaction: Transaction, nowMs: number): Promise<void> {
  await transaction.run('DELETE FROM revocations WHERE until_ms < ?', [nowMs]);
}
