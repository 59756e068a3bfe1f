import { constants } from 'node:os';
import {
  decodeStruct,
  libcFunction,
  libraryError,
  type NativeFunction,
  type NativeType,
  nativeStruct,
  sizeOf,
} from './native.js';

const FIRST_BUFFER_BYTES = 1024;
// A group with 100,000 members needs about 2 MiB.
const MAX_BUFFER_BYTES = 16 * 1024 * 1024;
const POINTER_BYTES = 8;

type Lookup<K> = NativeFunction<[K, Buffer, Buffer, number, Buffer], number>;

/** A database of `getXXnam_r` functions, whose record is a C struct. */
export interface NssDatabase<R> {
  readonly members: Record<string, string>;
  /** Copies what is needed out of the struct while its memory is still there. */
  readonly convert: (struct: Record<string, unknown>) => R;
}

/** Declares `int name(key, struct *, char *buffer, size_t, struct **)` of libc. */
export function nssFunction<K extends string | number>(name: string, keyType: string): Lookup<K> {
  return libcFunction(name, 'int', [keyType, 'void *', 'void *', 'size_t', 'void *']);
}

/**
 * Makes a look-up with a buffer that grows as needed, off the main thread, since NSS may ask a server.
 *
 * @returns `undefined` only when the database answered that there is no such record
 * @throws {MH_ERR_SYSTEMD_LIBRARY} the database could not be asked: the record may well exist
 */
export async function lookUp<K extends string | number, R>(
  name: string,
  lookup: Lookup<K>,
  database: NssDatabase<R>,
  key: K,
): Promise<R | undefined> {
  // A NUL would cut the name short for libc, and find somebody else.
  if (typeof key === 'string' && (key === '' || key.includes('\0'))) return undefined;
  const type = typeOf(database);
  for (let bytes = FIRST_BUFFER_BYTES; bytes <= MAX_BUFFER_BYTES; bytes *= 4) {
    const struct = Buffer.alloc(sizeOf(type));
    const strings = Buffer.alloc(bytes);
    const found = Buffer.alloc(POINTER_BYTES);
    const errno = await lookup.inBackground(key, struct, strings, bytes, found);
    if (errno === constants.errno.ERANGE) continue;
    // getpwnam_r(3) lets an implementation say "not found" in these ways; everything else means "not known".
    if (errno === constants.errno.ENOENT || errno === constants.errno.ESRCH) return undefined;
    if (errno !== 0) throw libraryError(name, errno);
    if (found.readBigUInt64LE(0) === 0n) return undefined;
    const record = database.convert(decodeStruct(struct, type));
    // May hold a password hash.
    strings.fill(0);
    return record;
  }
  throw libraryError(name, constants.errno.ERANGE);
}

const types = new WeakMap<object, NativeType>();

function typeOf(database: NssDatabase<unknown>): NativeType {
  const known = types.get(database);
  if (known !== undefined) return known;
  const type = nativeStruct(database.members);
  types.set(database, type);
  return type;
}
