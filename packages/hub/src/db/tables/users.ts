import { MetalhubError } from '@metalhub/base/errors.js';
import { type Identity, isKey, type Key, parseIdentity } from '@metalhub/base/names.js';
import { guarded, integer, nullable, object, text } from '@metalhub/base/shape.js';
import { keyCandidates } from '../../names/key.js';
import { isUserName, type UserName } from '../../names/user-name.js';
import { type Database, MAX_ROWS, type Row, type Transaction } from '../database.js';

export interface User {
  readonly id: number;
  readonly loginMethod: string;
  readonly name: UserName;
  readonly key: Key;
  readonly isAdmin: boolean;
  readonly createdMs: number;
  readonly lastLoginMs: number | null;
}

export const USER_COLUMNS = 'users.id, login_method, users.name, key, admin, users.created_ms, last_login_ms';

const isName = (value: unknown): value is UserName => typeof value === 'string' && isUserName(value);
const userRow = object({
  id: integer(1, Number.MAX_SAFE_INTEGER),
  login_method: text({ max: 32 }),
  name: guarded(isName, 'a user name'),
  key: guarded(isKey, 'a key'),
  admin: integer(0, 1),
  created_ms: integer(0, Number.MAX_SAFE_INTEGER),
  last_login_ms: nullable(integer(0, Number.MAX_SAFE_INTEGER)),
});

export function readUser(row: Row): User {
  const { login_method, admin, created_ms, last_login_ms, ...same } = userRow(row, 'users');
  return {
    ...same,
    loginMethod: login_method,
    isAdmin: admin === 1,
    createdMs: created_ms,
    lastLoginMs: last_login_ms,
  };
}

export async function findUserByName(database: Database, name: string): Promise<User | undefined> {
  const row = await database.find(`SELECT ${USER_COLUMNS} FROM users WHERE name = ?`, [name]);
  return row && readUser(row);
}

export async function findUserByKey(database: Database, key: Key): Promise<User | undefined> {
  const row = await database.find(`SELECT ${USER_COLUMNS} FROM users WHERE key = ?`, [key]);
  return row && readUser(row);
}

export async function listUsers(database: Database): Promise<User[]> {
  const rows = await database.all(`SELECT ${USER_COLUMNS} FROM users ORDER BY name LIMIT ?`, [MAX_ROWS]);
  return rows.map(readUser);
}

/**
 * The user of a successful login, made at the first one with a key that stays theirs for good.
 * @throws {MH_ERR_HUB_NAME_REFUSED} the name belongs to a user of another login method
 */
export async function noteLogin(
  transaction: Transaction,
  login: {
    loginMethod: string;
    name: UserName;
    isAdmin: boolean;
    nowMs: number;
    /** Not to be given to a new user. */
    foreignKeys: ReadonlySet<Key>;
  },
): Promise<User> {
  const { loginMethod, name, isAdmin, nowMs, foreignKeys } = login;
  const known = await transaction.find('SELECT id, login_method FROM users WHERE name = ?', [name]);
  if (known !== undefined && known['login_method'] !== loginMethod) throw new MetalhubError('MH_ERR_HUB_NAME_REFUSED');
  if (known === undefined) {
    const key = await freeKey(transaction, parseIdentity(`${loginMethod}:${name}`), foreignKeys);
    await transaction.run(
      'INSERT INTO users (login_method, name, key, admin, created_ms, last_login_ms) VALUES (?, ?, ?, ?, ?, ?)',
      [loginMethod, name, key, isAdmin ? 1 : 0, nowMs, nowMs],
    );
  } else {
    await transaction.run('UPDATE users SET last_login_ms = ?, admin = ? WHERE name = ?', [
      nowMs,
      isAdmin ? 1 : 0,
      name,
    ]);
  }
  const row = await transaction.find(`SELECT ${USER_COLUMNS} FROM users WHERE name = ?`, [name]);
  if (row === undefined) throw new MetalhubError('MH_ERR_HUB_DATABASE', { details: { reason: 'a user vanished' } });
  return readUser(row);
}

async function freeKey(transaction: Transaction, identity: Identity, foreignKeys: ReadonlySet<Key>): Promise<Key> {
  for (const key of keyCandidates(identity)) {
    if (foreignKeys.has(key)) continue;
    const taken = await transaction.find('SELECT 1 AS taken FROM users WHERE key = ?', [key]);
    if (taken === undefined) return key;
  }
  throw new MetalhubError('MH_ERR_INTERNAL');
}
