import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { lastErrno, libcFunction, libraryError } from './native.js';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const UCRED_BYTES = 12;
// What the kernel reports when the peer was in another user namespace, or when there are no credentials.
const NO_ID = 0xffffffff;

const getsockopt = libcFunction<[number, number, number, Buffer, Buffer], number>('getsockopt', 'int', [
  'int',
  'int',
  'int',
  'void *',
  'void *',
]);

/** Who called connect(2): not who holds the socket now, nor a promise that the process still lives. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Asks the kernel who is at the other end of a connected UNIX socket.
 *
 * @throws {MH_ERR_SYSTEMD_LIBRARY} not a socket, or its peer has no credentials (a TCP socket)
 * @see unix(7), SO_PEERCRED
 */
export function peerCredentials(fd: number): PeerCredentials {
  const credentials = Buffer.alloc(UCRED_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(UCRED_BYTES);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) !== 0) {
    throw libraryError('getsockopt(SO_PEERCRED)', lastErrno());
  }
  const uid = credentials.readUInt32LE(4);
  if (length.readUInt32LE(0) !== UCRED_BYTES || uid === NO_ID) {
    throw libraryError('getsockopt(SO_PEERCRED)', constants.errno.ENODATA);
  }
  return { pid: credentials.readInt32LE(0), uid, gid: credentials.readUInt32LE(8) };
}

/**
 * Like {@link peerCredentials}, for a socket of Node's.
 *
 * @throws {MH_ERR_SYSTEMD_LIBRARY} also when the socket is closed already
 */
export function socketPeerCredentials(socket: Socket): PeerCredentials {
  const fd = findSocketFd(socket);
  if (fd === undefined) throw libraryError('getsockopt(SO_PEERCRED)', constants.errno.EBADF);
  return peerCredentials(fd);
}

/** The descriptor under a socket of Node's, `undefined` when it is closed. It stays the socket's: do not close it. */
export function findSocketFd(socket: Socket): number | undefined {
  // Node has no public way to it; `_handle.fd` has been there since Node 0.6 and is what cluster and tests use.
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
