import { constants } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { allocateMemory, lastErrno, libcFunction, libraryError, type NativeMemory } from './native.js';

/**
 * The calls of the kernel that a walk through somebody else's directories needs and Node lacks: relative to an open directory,
 * following no link, leaving no file system. Names are addresses of memory that holds them, ended by a NUL, and failures
 * are negative numbers of errors: a walk makes millions of these calls.
 */

const SYS_OPENAT2 = 437;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_NO_AUTOMOUNT = 0x800;
const AT_EMPTY_PATH = 0x1000;
const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const STATX_WANTED = 0x11f;
const STATX_ATTR_MOUNT_ROOT = 0x2000;
const OPEN_HOW_BYTES = 24;
const STATX_BYTES = 256;
const NO_ID = 0xffffffff;

const syscall = libcFunction<[number, number, number, number, number], number>('syscall', 'long', [
  'long',
  'long',
  'uint64_t',
  'uint64_t',
  'long',
]);
const getdents64 = libcFunction<[number, number, number], number>('getdents64', 'long', ['int', 'uint64_t', 'ulong']);
const statx = libcFunction<[number, number, number, number, number], number>('statx', 'int', [
  'int',
  'uint64_t',
  'int',
  'uint32_t',
  'uint64_t',
]);
const fchownat = libcFunction<[number, number, number, number, number], number>('fchownat', 'int', [
  'int',
  'uint64_t',
  'uint32_t',
  'uint32_t',
  'int',
]);
const close = libcFunction<[number], number>('close', 'int', ['int']);

/** What the kernel says of one file. Filled by {@link TreeCalls.look}; the next call replaces it. */
export interface FileStatus {
  readonly uid: number;
  readonly gid: number;
  /** With the type of the file. */
  readonly mode: number;
  readonly linkCount: number;
  /** Exact up to 2^53. */
  readonly inode: number;
  /** Something is mounted here. */
  readonly isMountRoot: boolean;
}

/** One per thread: the memory that results are put into is shared by all calls. */
export interface TreeCalls {
  readonly status: FileStatus;
  /** Puts a name of one byte per character where {@link nameAddress} says. @throws when it is longer than a path may be */
  writeName(name: string): void;
  /** What was written last. */
  readonly name: string;
  readonly nameAddress: number;
  /** Opens a directory for reading. Negative: no directory, a link (ELOOP, ENOTDIR), or a mount point (EXDEV). */
  openDirectory(parent: number, name: number): number;
  /** Opens whatever it is, only to look at it and to change its owner; a link itself, not what it leads to. */
  openEntry(parent: number, name: number): number;
  /** Status of an entry of a directory, not following a link. */
  look(parent: number, name: number): number;
  /** Status of what is open. */
  lookAtOpen(fd: number): number;
  /** Reads the next entries of a directory into memory. 0 at its end. @see getdents64(2) */
  readEntries(fd: number, memory: NativeMemory): number;
  /** Changes the owner of what is open. The kernel drops its file capabilities. */
  changeOwner(fd: number, uid: number, gid: number): number;
  close(fd: number): void;
}

const NO_NAME = allocateMemory(8);
const NAME_BYTES = 4096;

export function createTreeCalls(): TreeCalls {
  const [call, entries, look, give, end] = [
    syscall.direct(),
    getdents64.direct(),
    statx.direct(),
    fchownat.direct(),
    close.direct(),
  ];
  const name = allocateMemory(NAME_BYTES);
  const found = allocateMemory(STATX_BYTES);
  const words = new Uint32Array(found.buffer.buffer, found.buffer.byteOffset, STATX_BYTES / 4);
  const directory = openHow(constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC);
  const entry = openHow(O_PATH | constants.O_NOFOLLOW | O_CLOEXEC);
  // @see statx(2); what is not there is not asked for.
  const status: FileStatus = {
    get linkCount() {
      return words[4] ?? 0;
    },
    get uid() {
      return words[5] ?? NO_ID;
    },
    get gid() {
      return words[6] ?? NO_ID;
    },
    get mode() {
      return (words[7] ?? 0) & 0xffff;
    },
    get inode() {
      return (words[9] ?? 0) * 2 ** 32 + (words[8] ?? 0);
    },
    get isMountRoot() {
      return ((words[2] ?? 0) & STATX_ATTR_MOUNT_ROOT) !== 0;
    },
  };
  return {
    status,
    get name() {
      return name.buffer.toString('latin1', 0, name.buffer.indexOf(0));
    },
    nameAddress: name.address,
    writeName(text) {
      if (text.length >= NAME_BYTES) throw libraryError('openat2', osConstants.errno.ENAMETOOLONG);
      name.buffer[name.buffer.write(text, 'latin1')] = 0;
    },
    openDirectory: (parent, at) => outcome(call(SYS_OPENAT2, parent, at, directory.address, OPEN_HOW_BYTES)),
    openEntry: (parent, at) => outcome(call(SYS_OPENAT2, parent, at, entry.address, OPEN_HOW_BYTES)),
    look: (parent, at) => outcome(look(parent, at, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_WANTED, found.address)),
    lookAtOpen: (fd) => outcome(look(fd, NO_NAME.address, AT_EMPTY_PATH, STATX_WANTED, found.address)),
    readEntries: (fd, memory) => outcome(entries(fd, memory.address, memory.buffer.length)),
    changeOwner: (fd, uid, gid) => outcome(give(fd, NO_NAME.address, uid, gid, AT_EMPTY_PATH)),
    close(fd) {
      end(fd);
    },
  };
}

/** Opens a directory by its full path, in which no component may be a link. @throws {MH_ERR_SYSTEMD_LIBRARY} */
export function openRootDirectory(calls: TreeCalls, path: string): number {
  const how = openHow(constants.O_DIRECTORY | O_CLOEXEC, RESOLVE_NO_SYMLINKS);
  calls.writeName(path);
  const fd = syscall(SYS_OPENAT2, AT_FDCWD, calls.nameAddress, how.address, OPEN_HOW_BYTES);
  if (fd < 0) throw libraryError('openat2', lastErrno());
  return fd;
}

function openHow(flags: number, resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_NO_XDEV): NativeMemory {
  const memory = allocateMemory(OPEN_HOW_BYTES);
  memory.buffer.writeBigUInt64LE(BigInt(flags), 0);
  memory.buffer.writeBigUInt64LE(BigInt(resolve), 16);
  return memory;
}

function outcome(result: number): number {
  return result < 0 ? -lastErrno() : result;
}
