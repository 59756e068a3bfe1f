import { constants } from 'node:os';
import { lastErrno, libcFunction, libraryError } from './native.js';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDTIMEO = 21;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SUN_PATH_BYTES = 108;

const socket = libcFunction<[number, number, number], number>('socket', 'int', ['int', 'int', 'int']);
const close = libcFunction<[number], number>('close', 'int', ['int']);
const setsockopt = libcFunction<[number, number, number, Buffer, number], number>('setsockopt', 'int', [
  'int',
  'int',
  'int',
  'const void *',
  'uint32_t',
]);
const sendto = libcFunction<[number, Buffer, number, number, Buffer, number], number>('sendto', 'intptr_t', [
  'int',
  'const void *',
  'size_t',
  'int',
  'const void *',
  'uint32_t',
]);

/** How a datagram fared; `congested` means that the receiver does not read fast enough. */
export type SendResult = 'sent' | 'congested' | 'too-large';

/** Node has no UNIX datagram sockets, so this one is libc's. */
export interface DatagramSender {
  /**
   * Sends one datagram, synchronously.
   *
   * @param wait whether to wait, for as long as the sender was made to, while the receiver's queue is full
   * @throws {MH_ERR_SYSTEMD_LIBRARY} nobody listens, or the path does not exist
   */
  send(payload: Buffer, wait: boolean): SendResult;
  close(): void;
}

/**
 * Opens a sender to a UNIX datagram socket.
 *
 * @param path absolute, or `@` and the name of an abstract socket
 * @throws {MH_ERR_SYSTEMD_LIBRARY}
 */
export function openDatagramSender(
  path: string,
  options: { maxWaitMs: number; sendBufferBytes?: number },
): DatagramSender {
  const address = socketAddress(path);
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw libraryError('socket', lastErrno());
  const timeval = Buffer.alloc(16);
  timeval.writeBigInt64LE(BigInt(Math.floor(options.maxWaitMs / 1000)), 0);
  timeval.writeBigInt64LE(BigInt((options.maxWaitMs % 1000) * 1000), 8);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, timeval, timeval.length);
  if (options.sendBufferBytes !== undefined) {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(options.sendBufferBytes);
    // Capped silently at net.core.wmem_max, which is enough for the sizes sent here.
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, bytes, bytes.length);
  }
  let isOpen = true;
  return {
    send(payload, wait) {
      const flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
      const sent = sendto(fd, payload, payload.length, flags, address, address.length);
      return sent >= 0 ? 'sent' : resultOfErrno(lastErrno());
    },
    close() {
      if (isOpen) close(fd);
      isOpen = false;
    },
  };
}

function resultOfErrno(errno: number): SendResult {
  const { EAGAIN, EWOULDBLOCK, ENOBUFS, EINTR, EMSGSIZE } = constants.errno;
  if ([EAGAIN, EWOULDBLOCK, ENOBUFS, EINTR].includes(errno)) return 'congested';
  if (errno === EMSGSIZE) return 'too-large';
  throw libraryError('sendto', errno);
}

/** A `struct sockaddr_un` of exactly the length that names the socket. */
function socketAddress(path: string): Buffer {
  const name = Buffer.from(path, 'utf8');
  const isAbstract = path.startsWith('@');
  if (name.length === 0 || name.length >= SUN_PATH_BYTES || (!isAbstract && !path.startsWith('/'))) {
    throw libraryError('sockaddr_un', constants.errno.EINVAL);
  }
  const family = Buffer.alloc(2);
  family.writeUInt16LE(AF_UNIX);
  if (isAbstract) {
    name[0] = 0;
    return Buffer.concat([family, name]);
  }
  return Buffer.concat([family, name, Buffer.alloc(1)]);
}
