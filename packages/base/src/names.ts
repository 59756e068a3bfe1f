import { MetalhubError } from './errors.js';

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** What the hub calls a user on the machine: `[a-z][a-z0-9_]{0,22}`, made once from (login method, name). */
export type Key = Branded<string, 'Key'>;
/** `''` is the default server; a named one is `[a-z0-9][a-z0-9-]{0,30}`. */
export type ServerName = Branded<string, 'ServerName'>;
/** `<key>` or `<key>:<server>`. */
export type ServerId = Branded<string, 'ServerId'>;
/** `<method>:<name>`, the login that a key belongs to; the name part is any text. */
export type Identity = Branded<string, 'Identity'>;

export const KEY_PATTERN = /^[a-z][a-z0-9_]{0,22}$/;
export const SERVER_NAME_PATTERN = /^(?:[a-z0-9][a-z0-9-]{0,30})?$/;
/** The method is ours, the name is whatever the login method accepts, bounded. */
export const IDENTITY_PATTERN = /^[a-z][a-z0-9-]{0,30}:[^\p{Cc}]{1,512}$/u;

/** What is below are system accounts. */
const FIRST_UID = 1000;
/** Of users that systemd makes without being given a number; ours has one, of the lease. @see https://systemd.io/UIDS-GIDS/ */
const DYNAMIC_UIDS = { first: 61_184, last: 65_519 };

export const SERVERS_DIRECTORY = '/run/metalhub/servers';
export const HOME_ROOT = '/var/lib/metalhub/home';
export const PRIVATE_HOME_ROOT = '/var/lib/private/metalhub/home';

export function isKey(value: unknown): value is Key {
  return typeof value === 'string' && KEY_PATTERN.test(value);
}

export function isServerName(value: unknown): value is ServerName {
  return typeof value === 'string' && SERVER_NAME_PATTERN.test(value);
}

/** @throws {MH_ERR_SPAWN_NAME} */
export function parseKey(value: unknown): Key {
  if (!isKey(value)) throw new MetalhubError('MH_ERR_SPAWN_NAME', { details: { what: 'key' } });
  return value;
}

/** @throws {MH_ERR_SPAWN_NAME} */
export function parseServerName(value: unknown): ServerName {
  if (!isServerName(value)) throw new MetalhubError('MH_ERR_SPAWN_NAME', { details: { what: 'server name' } });
  return value;
}

/** @throws {MH_ERR_SPAWN_NAME} */
export function parseIdentity(value: unknown): Identity {
  if (typeof value !== 'string' || !IDENTITY_PATTERN.test(value)) {
    throw new MetalhubError('MH_ERR_SPAWN_NAME', { details: { what: 'identity' } });
  }
  return value as Identity;
}

export function serverId(key: Key, server: ServerName): ServerId {
  return (server === '' ? key : `${key}:${server}`) as string as ServerId;
}

/** Splits `jupyter-<id>.service` (or `.socket`); `undefined` for any other unit. */
export function findServerOfUnit(unit: string): { key: Key; server: ServerName } | undefined {
  const match = /^jupyter-([^:]+)(?::(.+))?\.(?:service|socket)$/.exec(unit);
  const [, key, server = ''] = match ?? [];
  if (!isKey(key) || !isServerName(server) || unit.includes(':.')) return undefined;
  return { key, server };
}

export function accountName(key: Key): string {
  return `jupyter-${key}`;
}

export function serviceUnit(id: ServerId): string {
  return `jupyter-${id}.service`;
}

export function socketUnit(id: ServerId): string {
  return `jupyter-${id}.socket`;
}

/** The unit of a command that an administrator runs as the user. No server's: a key has no `-`. @param id 8 hex digits */
export function commandUnit(key: Key, id: string): string {
  return `jupyter-${key}-exec-${id}.service`;
}

/** `undefined` for any other unit. */
export function findCommandOfUnit(unit: string): { key: Key; id: string } | undefined {
  const [, key, id = ''] = /^jupyter-([^-]+)-exec-([0-9a-f]{8})\.service$/.exec(unit) ?? [];
  return isKey(key) ? { key, id } : undefined;
}

export function userSlice(key: Key): string {
  return `jupyter-${key}.slice`;
}

export function serverSocketPath(id: ServerId): string {
  return `${SERVERS_DIRECTORY}/${id}.sock`;
}

/** The home as its user sees it (a link that systemd keeps to {@link privateHomePath}). */
export function homePath(key: Key): string {
  return `${HOME_ROOT}/${key}`;
}

/**
 * Whether an account has the home of a key's. While a unit of the user runs, PID 1 answers look-ups by name too, before
 * our record does, and with `/`.
 */
export function isHomeOf(key: Key, home: string): boolean {
  return home === homePath(key) || home === '/';
}

/**
 * Whether an account that has the name of a key's is that key's, for whoever does not know which uid it should have. The
 * home `/` says it only where the number is one of a user: system accounts have that home too, and so have units of others
 * that systemd makes a user for.
 */
export function isAccountOf(key: Key, { uid, gid, home }: { uid: number; gid: number; home: string }): boolean {
  if (home !== '/') return isHomeOf(key, home);
  return uid === gid && uid >= FIRST_UID && (uid < DYNAMIC_UIDS.first || uid > DYNAMIC_UIDS.last);
}

/** Of an account of the machine that was made for the key (accounts.mode = "create"). */
export function createdHomePath(key: Key): string {
  return `/home/${accountName(key)}`;
}

/** The directory itself; nobody but root can reach it from outside the user's units. */
export function privateHomePath(key: Key): string {
  return `${PRIVATE_HOME_ROOT}/${key}`;
}
