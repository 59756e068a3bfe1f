import { integer, object, text } from '@metalhub/base/shape.js';
import type { Database, Transaction } from '../database.js';

/** A penalty as it outlives a restart; the subject is a hash. */
export interface StoredPenalty {
  scope: string;
  subject: string;
  remainingMs: number;
  isEnforced: boolean;
  storedMs: number;
}

/** The heaviest are kept. */
export const MAX_STORED_PENALTIES = 1024;

const count = integer(0, Number.MAX_SAFE_INTEGER);
const penaltyRow = object({
  scope: text({ max: 16 }),
  subject: text({ max: 64 }),
  remaining_ms: count,
  enforced: integer(0, 1),
  stored_ms: count,
});

export async function listPenalties(database: Database): Promise<StoredPenalty[]> {
  const rows = await database.all('SELECT scope, subject, remaining_ms, enforced, stored_ms FROM penalties LIMIT ?', [
    4 * MAX_STORED_PENALTIES,
  ]);
  return rows.map((row) => {
    const { remaining_ms, enforced, stored_ms, ...same } = penaltyRow(row, 'penalties');
    return { ...same, remainingMs: remaining_ms, isEnforced: enforced === 1, storedMs: stored_ms };
  });
}

export async function replacePenalties(transaction: Transaction, penalties: readonly StoredPenalty[]): Promise<void> {
  await transaction.run('DELETE FROM penalties');
  for (const { scope, subject, remainingMs, isEnforced, storedMs } of penalties) {
    await transaction.run(
      'INSERT OR REPLACE INTO penalties (scope, subject, remaining_ms, enforced, stored_ms) VALUES (?, ?, ?, ?, ?)',
      [scope, subject, Math.round(remainingMs), isEnforced ? 1 : 0, storedMs],
    );
  }
}
