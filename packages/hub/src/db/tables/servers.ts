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
}

const time = nullable(integer(0, Number.MAX_SAFE_INTEGER));
const jsonFailure: Shape<Failure | null> = (value, path) => {
  if (value === null) return null;
  return failureShape(JSON.parse(String(value)), path);
};
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
  failure: jsonFailure,
});

/** Every server that is wanted or has something to tell. */
export async function listStoredServers(database: Database): Promise<StoredServer[]> {
  const rows = await database.all(
    `SELECT servers.name AS server_name, profile, choices, base, start_id, requested_ms, started_ms, failure, ${USER_COLUMNS}
       FROM servers JOIN users ON users.id = servers.user_id ORDER BY users.name, servers.name LIMIT ?`,
    [MAX_ROWS],
  );
  return rows.map(readServer);
}

function readServer(row: Row): StoredServer {
  const { server_name, profile, choices, base, start_id, requested_ms, started_ms, failure, ...user } = row;
  const own = serverRow(
    { server_name, profile, choices, base, start_id, requested_ms, started_ms, failure },
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
  };
}

export type ServerRecord = Omit<StoredServer, 'user'>;

export async function storeServer(transaction: Transaction, userId: number, server: ServerRecord): Promise<void> {
  await transaction.run(
    `INSERT INTO servers (user_id, name, profile, choices, base, start_id, requested_ms, started_ms, failure)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (user_id, name) DO UPDATE SET profile = excluded.profile, choices = excluded.choices, base = excluded.base, start_id = excluded.start_id,
       requested_ms = excluded.requested_ms, started_ms = excluded.started_ms, failure = excluded.failure`,
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
    ],
  );
}
