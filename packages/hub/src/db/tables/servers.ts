import { isErrorCode } from '@metalhub/base/errors.js';
import { isServerName, type ServerName } from '@metalhub/base/names.js';
import {
  guarded,
  integer,
  list,
  nullable,
  object,
  oneOf,
  record,
  type Shape,
  type Shaped,
  text,
} from '@metalhub/base/shape.js';
import { PROFILE_NAME_PATTERN } from '@metalhub/wire/spawner.js';
import type { Choices } from '../../servers/profiles.js';
import { type Database, MAX_ROWS, type Row, type Transaction } from '../database.js';
import { readUser, USER_COLUMNS, type User } from './users.js';

/** Why the last start, or run, of a server failed; kept until the next start. */
export const failureShape = object({
  code: guarded(isErrorCode, 'an error code'),
  message: text({ max: 2048 }),
  hint: nullable(text({ max: 2048 })),
  /** The unit's own last lines, oldest first, without secrets. */
  log_lines: list(text({ max: 4200 }), 100),
  at_ms: integer(0, Number.MAX_SAFE_INTEGER),
  /** A start that never became ready, or a server that ended by itself. */
  during: oneOf('start', 'run'),
});
export type Failure = Shaped<typeof failureShape>;

/** Why the hub has ended a server that ran well; kept until the next start. */
export const ownEndShape = object({
  /** Nobody used it, or it had run for as long as it may. */
  reason: oneOf('idle', 'age'),
  /** The limit that was reached. */
  limit_sec: integer(1, Number.MAX_SAFE_INTEGER),
  at_ms: integer(0, Number.MAX_SAFE_INTEGER),
});
export type OwnEnd = Shaped<typeof ownEndShape>;

export interface StoredServer {
  user: User;
  name: ServerName;
  profile: string;
  /** Options by choice by profile. */
  choices: Readonly<Record<string, Choices>>;
  /** Path of `public_url` at its last start. */
  base: string;
  /** 32 hex digits while the server is wanted. */
  startId: string | null;
  requestedMs: number | null;
  startedMs: number | null;
  failure: Failure | null;
  ownEnd: OwnEnd | null;
}

const time = nullable(integer(0, Number.MAX_SAFE_INTEGER));
/** A column with JSON in it. */
function json<T>(shape: Shape<T>): Shape<T | null> {
  return (value, path) => (value === null ? null : shape(JSON.parse(String(value)), path));
}
const name = text({ pattern: PROFILE_NAME_PATTERN, max: 63 });
const choicesShape = record(PROFILE_NAME_PATTERN, record(PROFILE_NAME_PATTERN, name, 10), 1000);
const jsonChoices: Shape<Shaped<typeof choicesShape>> = (value, path) => choicesShape(JSON.parse(String(value)), path);
const serverRow = object({
  server_name: guarded(isServerName, 'a server name'),
  profile: text({ max: 63 }),
  choices: jsonChoices,
  base: text({ max: 200 }),
  start_id: nullable(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
  requested_ms: time,
  started_ms: time,
  failure: json(failureShape),
  own_end: json(ownEndShape),
});

/** Every server that is wanted or has something to tell. */
export async function listStoredServers(database: Database): Promise<StoredServer[]> {
  const rows = await database.all(
    `SELECT servers.name AS server_name, profile, choices, base, start_id, requested_ms, started_ms, failure, own_end,
            ${USER_COLUMNS}
       FROM servers JOIN users ON users.id = servers.user_id ORDER BY users.name, servers.name LIMIT ?`,
    [MAX_ROWS],
  );
  return rows.map(readServer);
}

function readServer(row: Row): StoredServer {
  const { server_name, profile, choices, base, start_id, requested_ms, started_ms, failure, own_end, ...user } = row;
  const own = serverRow(
    { server_name, profile, choices, base, start_id, requested_ms, started_ms, failure, own_end },
    'servers',
  );
  return {
    user: readUser(user),
    name: own.server_name,
    profile: own.profile,
    choices: own.choices,
    base: own.base,
    startId: own.start_id,
    requestedMs: own.requested_ms,
    startedMs: own.started_ms,
    failure: own.failure,
    ownEnd: own.own_end,
  };
}

export async function deleteServer(transaction: Transaction, userId: number, name: ServerName): Promise<void> {
  await transaction.run('DELETE FROM servers WHERE user_id = ? AND name = ?', [userId, name]);
  await transaction.run('DELETE FROM limit_grants WHERE user_id = ? AND name = ?', [userId, name]);
}

export type ServerRecord = Omit<StoredServer, 'user'>;

export async function storeServer(transaction: Transaction, userId: number, server: ServerRecord): Promise<void> {
  await transaction.run(
    `INSERT INTO servers (user_id, name, profile, choices, base, start_id, requested_ms, started_ms, failure, own_end)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (user_id, name) DO UPDATE SET profile = excluded.profile, choices = excluded.choices, base = excluded.base, start_id = excluded.start_id,
       requested_ms = excluded.requested_ms, started_ms = excluded.started_ms, failure = excluded.failure,
       own_end = excluded.own_end`,
    [
      userId,
      server.name,
      server.profile,
      JSON.stringify(server.choices),
      server.base,
      server.startId,
      server.requestedMs,
      server.startedMs,
      server.failure === null ? null : JSON.stringify(server.failure),
      server.ownEnd === null ? null : JSON.stringify(server.ownEnd),
    ],
  );
}
