import { MetalhubError } from '@metalhub/base/errors.js';
import { takeSystemdEnvironment } from './environment.js';
import { lastErrno, libcFunction, libraryError } from './native.js';

const FIRST_FD = 3;
const F_SETFD = 2;
const FD_CLOEXEC = 1;

const fcntl = libcFunction<[number, number, 'int', number], number>('fcntl', 'int', ['int', 'int', '...']);

/**
 * The descriptors that systemd passed in, by `FileDescriptorName=` (`unknown` when it gave none), now close-on-exec.
 *
 * Empty when the variables are missing or are meant for another process. The caller owns the descriptors.
 *
 * @throws {MH_ERR_SYSTEMD_LIBRARY} a promised descriptor is not open
 * @see sd_listen_fds_with_names(3)
 */
export function listenFds(): Map<string, number[]> {
  const { listenPid, listenFdCount, listenFdNames } = takeSystemdEnvironment();
  const fdsByName = new Map<string, number[]>();
  if (listenPid !== process.pid) return fdsByName;
  for (let index = 0; index < listenFdCount; index++) {
    const fd = FIRST_FD + index;
    setCloseOnExec(fd);
    const name = listenFdNames[index] ?? 'unknown';
    fdsByName.set(name, [...(fdsByName.get(name) ?? []), fd]);
  }
  return fdsByName;
}

/**
 * The one descriptor of that name.
 *
 * @param name the socket unit's `FileDescriptorName=`, which is that unit's name without `.socket` by our convention
 * @throws {MH_ERR_SYSTEMD_LISTEN_FDS} there is none, or more than one
 */
export function requireListenFd(name: string): number {
  const [fd, ...more] = listenFds().get(name) ?? [];
  if (fd !== undefined && more.length === 0) return fd;
  throw unusable(name, fd === undefined ? 0 : 1 + more.length);
}

/**
 * Like {@link requireListenFd}, for a socket unit that need not be on: then `undefined`.
 * @throws {MH_ERR_SYSTEMD_LISTEN_FDS} there is more than one
 */
export function findListenFd(name: string): number | undefined {
  const [fd, ...more] = listenFds().get(name) ?? [];
  if (more.length > 0) throw unusable(name, 1 + more.length);
  return fd;
}

function unusable(name: string, found: number): MetalhubError {
  return new MetalhubError('MH_ERR_SYSTEMD_LISTEN_FDS', {
    details: { name, found },
    hint:
      found === 0
        ? `start it by "systemctl start ${name}.socket", not by hand`
        : `${name}.socket must have exactly one listening address`,
  });
}

function setCloseOnExec(fd: number): void {
  if (fcntl(fd, F_SETFD, 'int', FD_CLOEXEC) < 0) throw libraryError(`fcntl(${fd})`, lastErrno());
}
