import { constants } from 'node:os';
import { decodeStringArray, libcFunction, libraryError } from './native.js';
import { lookUp, type NssDatabase, nssFunction } from './nss-lookup.js';

const MAX_GROUP_MEMBERS = 100_000;
// NGROUPS_MAX of the kernel.
const MAX_GROUPS = 65_536;

/** A record of the password database, from whatever source nsswitch.conf names. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** The GECOS field. */
  readonly realName: string;
  readonly home: string;
  readonly shell: string;
}

export interface Group {
  readonly name: string;
  readonly gid: number;
  /** Supplementary members only: those whose primary group it is are not listed. */
  readonly members: readonly string[];
}

/** The part of a shadow record that decides whether somebody may log in; the hash itself is never returned. */
export interface Shadow {
  readonly name: string;
  /** The password field begins with `!` or `*`: no password matches. Log-in by other means may still be meant. */
  readonly locked: boolean;
  readonly hasEmptyPassword: boolean;
  /** Day of the last change, counted from 1970-01-01; 0 means that it must be changed at the next log-in. */
  readonly lastChangeDay: number | undefined;
  readonly maxDays: number | undefined;
  readonly inactiveDays: number | undefined;
  /** The account is expired from this day on, counted from 1970-01-01. */
  readonly expireDay: number | undefined;
}

const accountDatabase: NssDatabase<Account> = {
  members: {
    name: 'const char *',
    password: 'const char *',
    uid: 'uint32_t',
    gid: 'uint32_t',
    realName: 'const char *',
    home: 'const char *',
    shell: 'const char *',
  },
  convert: (struct) => ({
    name: textOf(struct.name),
    uid: numberOf(struct.uid),
    gid: numberOf(struct.gid),
    realName: textOf(struct.realName),
    home: textOf(struct.home),
    shell: textOf(struct.shell),
  }),
};

const groupDatabase: NssDatabase<Group> = {
  members: { name: 'const char *', password: 'const char *', gid: 'uint32_t', members: 'void *' },
  convert: (struct) => ({
    name: textOf(struct.name),
    gid: numberOf(struct.gid),
    members: decodeStringArray(struct.members, MAX_GROUP_MEMBERS),
  }),
};

const shadowDatabase: NssDatabase<Shadow> = {
  members: {
    name: 'const char *',
    password: 'const char *',
    lastChange: 'long',
    min: 'long',
    max: 'long',
    warn: 'long',
    inactive: 'long',
    expire: 'long',
    flag: 'unsigned long',
  },
  convert: (struct) => ({
    name: textOf(struct.name),
    locked: /^[!*]/.test(textOf(struct.password)),
    hasEmptyPassword: textOf(struct.password) === '',
    lastChangeDay: dayOf(struct.lastChange),
    maxDays: dayOf(struct.max),
    inactiveDays: dayOf(struct.inactive),
    expireDay: dayOf(struct.expire),
  }),
};

const getpwnam = nssFunction<string>('getpwnam_r', 'const char *');
const getpwuid = nssFunction<number>('getpwuid_r', 'uint32_t');
const getgrnam = nssFunction<string>('getgrnam_r', 'const char *');
const getgrgid = nssFunction<number>('getgrgid_r', 'uint32_t');
const getspnam = nssFunction<string>('getspnam_r', 'const char *');
const getgrouplist = libcFunction<[string, number, Buffer, Buffer], number>('getgrouplist', 'int', [
  'const char *',
  'uint32_t',
  'void *',
  'void *',
]);

/**
 * Looks an account up by name. NSS may fold case or add a realm: compare `name` of the result with what you asked for.
 *
 * @returns `undefined` when NSS answers that there is none
 * @throws {MH_ERR_SYSTEMD_LIBRARY} NSS could not answer; treat the account neither as present nor as absent
 */
export function findAccount(name: string): Promise<Account | undefined> {
  return lookUp('getpwnam_r', getpwnam, accountDatabase, name);
}

/** Like {@link findAccount}, by uid. */
export function findAccountByUid(uid: number): Promise<Account | undefined> {
  return lookUp('getpwuid_r', getpwuid, accountDatabase, uid);
}

/** Like {@link findAccount}, for groups. */
export function findGroup(name: string): Promise<Group | undefined> {
  return lookUp('getgrnam_r', getgrnam, groupDatabase, name);
}

/** Like {@link findGroup}, by gid. */
export function findGroupByGid(gid: number): Promise<Group | undefined> {
  return lookUp('getgrgid_r', getgrgid, groupDatabase, gid);
}

/**
 * Looks up the shadow record of a local account; needs root.
 *
 * @returns `undefined` when there is none, which is usual for accounts from a directory
 * @throws {MH_ERR_SYSTEMD_LIBRARY} `EACCES` when not root
 */
export function findShadow(name: string): Promise<Shadow | undefined> {
  return lookUp('getspnam_r', getspnam, shadowDatabase, name);
}

/**
 * The gids of all groups an account is in, its primary group `gid` included.
 *
 * @throws {MH_ERR_SYSTEMD_LIBRARY} more groups than the kernel allows
 */
export async function accountGroups(name: string, gid: number): Promise<number[]> {
  for (let room = 64; room <= MAX_GROUPS; room *= 4) {
    const gids = Buffer.alloc(room * 4);
    const count = Buffer.alloc(4);
    count.writeInt32LE(room);
    if ((await getgrouplist.inBackground(name, gid, gids, count)) < 0) continue;
    return Array.from({ length: count.readInt32LE(0) }, (_, index) => gids.readUInt32LE(index * 4));
  }
  throw libraryError('getgrouplist', constants.errno.ERANGE);
}

/**
 * Names of all groups an account is in, the primary one included; groups without a name are left out. One after another: it
 * never takes more than one thread of the pool.
 */
export async function accountGroupNames({ name, gid }: Pick<Account, 'name' | 'gid'>): Promise<string[]> {
  const names: string[] = [];
  for (const id of await accountGroups(name, gid)) {
    const group = await findGroupByGid(id);
    if (group !== undefined) names.push(group.name);
  }
  return names;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function numberOf(value: unknown): number {
  if (typeof value === 'number') return value;
  throw libraryError('decode', constants.errno.EINVAL);
}

/** Empty fields of shadow(5) arrive as -1. */
function dayOf(value: unknown): number | undefined {
  const day = Number(value);
  return Number.isSafeInteger(day) && day >= 0 ? day : undefined;
}
