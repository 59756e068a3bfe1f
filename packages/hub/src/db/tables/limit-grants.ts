import { isServerName, type ServerName } from '@metalhub/base/names.js';
import { guarded, integer, nullable, object, type Shaped, text } from '@metalhub/base/shape.js';
import { type ServerLimits, serverLimitsShape } from '@metalhub/wire/spawner.js';
import { type Database, MAX_ROWS, type Transaction } from '../database.js';

const rowShape = object({
  user_id: integer(0, Number.MAX_SAFE_INTEGER),
  name: guarded(isServerName, 'a server name'),
  limits: text({ max: 1000 }),
  start_id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  until_ms: nullable(integer(0, Number.MAX_SAFE_INTEGER)),
});
type GrantRow = Shaped<typeof rowShape>;

/** What a server may use for a time, other than what it was started with. */
export interface LimitGrant {
  readonly userId: number;
  readonly name: ServerName;
  readonly limits: ServerLimits;
  /** Of the start that has them. */
  readonly startId: string;
  /** Milliseconds since the epoch; `null` for as long as that start runs. */
  readonly untilMs: number | null;
}

export async function listLimitGrants(database: Database): Promise<LimitGrant[]> {
  const columns = 'user_id, name, limits, start_id, until_ms';
  const rows = await database.all(`SELECT ${columns} FROM limit_grants LIMIT ?`, [MAX_ROWS]);
  return rows.map((row) => readGrant(rowShape(row, 'limit_grants')));
}

function readGrant({ user_id, name, limits, start_id, until_ms }: GrantRow): LimitGrant {
  const shaped = serverLimitsShape(JSON.parse(limits), 'limits');
  return { userId: user_id, name, limits: shaped, startId: start_id, untilMs: until_ms };
}

export async function storeLimitGrant(transaction: Transaction, grant: LimitGrant): Promise<void> {
  await transaction.run(
    `INSERT INTO limit_grants (user_id, name, limits, start_id, until_ms) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (user_id, name) DO UPDATE SET limits = excluded.limits, start_id = excluded.start_id,
       until_ms = excluded.until_ms`,
    [grant.userId, grant.name, JSON.stringify(grant.limits), grant.startId, grant.untilMs],
  );
}

export async function deleteLimitGrant(transaction: Transaction, userId: number, name: ServerName): Promise<void> {
  await transaction.run('DELETE FROM limit_grants WHERE user_id = ? AND name = ?', [userId, name]);
}
