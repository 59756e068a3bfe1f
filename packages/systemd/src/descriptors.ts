import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { addressOf, lastErrno, libcFunction, libraryError } from './native.js';
import { findSocketFd } from './peer.js';

// Node can neither send nor receive descriptors on a UNIX socket, other than between a parent and a child of its own.

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CTRUNC = 0x08;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const O_CLOEXEC = 0o2000000;
const POLLIN = 1;
/** Places in the memory of a message: behind the header a `struct iovec`, then the control data, then the bytes. */
const CONTROL_LENGTH_AT = 40;
const FLAGS_AT = 48;
const VECTOR_AT = 56;
const CONTROL_AT = 72;
const CONTROL_HEADER_BYTES = 16;
const FD_BYTES = 4;

const sendmsg = libcFunction<[number, Buffer, number], number>('sendmsg', 'intptr_t', ['int', 'void *', 'int']);
const recvmsg = libcFunction<[number, Buffer, number], number>('recvmsg', 'intptr_t', ['int', 'void *', 'int']);
const poll = libcFunction<[Buffer, number, number], number>('poll', 'int', ['void *', 'unsigned long', 'int']);
const pipe2 = libcFunction<[Buffer, number], number>('pipe2', 'int', ['void *', 'int']);
const close = libcFunction<[number], number>('close', 'int', ['int']);

/**
 * Sends bytes with descriptors, of which the receiver gets copies. Node must have nothing left to write to the socket.
 *
 * @returns how many bytes were sent, the descriptors with them; 0 while the receiver's buffer is full
 * @throws {MH_ERR_SYSTEMD_LIBRARY}
 * @see unix(7), SCM_RIGHTS
 */
export function sendDescriptors(socket: Socket, data: Buffer, descriptors: readonly number[]): number {
  const { block, control } = messageMemory(data, controlBytes(descriptors.length));
  control.writeBigUInt64LE(BigInt(CONTROL_HEADER_BYTES + FD_BYTES * descriptors.length), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  descriptors.forEach((fd, index) => void control.writeInt32LE(fd, CONTROL_HEADER_BYTES + FD_BYTES * index));
  const sent = Number(sendmsg(requireFd(socket), block, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (sent >= 0) return sent;
  const errno = lastErrno();
  if (errno === constants.errno.EAGAIN || errno === constants.errno.EINTR) return 0;
  throw libraryError('sendmsg', errno);
}

/**
 * Waits for one byte with so many descriptors. Node must not be reading from the socket: see {@link stopReading}. The wait
 * takes one of libuv's threads: only for a peer that was just asked for it.
 *
 * @returns the descriptors, close-on-exec, now the caller's to close
 * @throws {MH_ERR_SYSTEMD_LIBRARY} something else came, or nothing in time; then none is left open
 */
export async function receiveDescriptors(socket: Socket, count: number, timeoutMs: number): Promise<number[]> {
  const polled = Buffer.alloc(8);
  polled.writeInt32LE(requireFd(socket), 0);
  polled.writeInt16LE(POLLIN, 4);
  const ready = await poll.inBackground(polled, 1, timeoutMs);
  if (ready !== 1) throw libraryError('poll', constants.errno.ETIMEDOUT);
  // Room for more than wanted, so that a surplus is seen, and closed.
  const { block, control } = messageMemory(Buffer.alloc(1), controlBytes(count + 1));
  // Asked again: the socket may have been closed meanwhile, and the number given to something else.
  const received = Number(recvmsg(requireFd(socket), block, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  if (received < 0) throw libraryError('recvmsg', lastErrno());
  const descriptors = received === 0 ? [] : descriptorsOf(control, Number(block.readBigUInt64LE(CONTROL_LENGTH_AT)));
  if (descriptors.length === count && (block.readInt32LE(FLAGS_AT) & MSG_CTRUNC) === 0) return descriptors;
  for (const fd of descriptors) closeDescriptor(fd);
  throw libraryError('recvmsg', constants.errno.EBADMSG);
}

/**
 * Has Node read no more from a socket until the returned function is called: what it reads itself loses the descriptors that
 * come along.
 */
export function stopReading(socket: Socket): () => void {
  // No public way either: pause() goes on reading until a buffer is full.
  const handle: unknown = Reflect.get(socket, '_handle');
  callMethod(handle, 'readStop');
  return () => {
    if (!socket.destroyed) callMethod(handle, 'readStart');
  };
}

/** A pipe, both ends close-on-exec. @throws {MH_ERR_SYSTEMD_LIBRARY} */
export function openPipe(): { readonly readFd: number; readonly writeFd: number } {
  const fds = Buffer.alloc(2 * FD_BYTES);
  if (pipe2(fds, O_CLOEXEC) !== 0) throw libraryError('pipe2', lastErrno());
  return { readFd: fds.readInt32LE(0), writeFd: fds.readInt32LE(FD_BYTES) };
}

/** Closes a descriptor that nothing of Node's owns. */
export function closeDescriptor(fd: number): void {
  close(fd);
}

function requireFd(socket: Socket): number {
  const fd = findSocketFd(socket);
  if (fd === undefined) throw libraryError('sendmsg', constants.errno.EBADF);
  return fd;
}

function controlBytes(count: number): number {
  return CONTROL_HEADER_BYTES + Math.ceil((FD_BYTES * count) / 8) * 8;
}

interface MessageMemory {
  /** Begins with a `struct msghdr`, which points into the rest: one piece of memory, so that no part of it can go early. */
  readonly block: Buffer;
  readonly control: Buffer;
}

/** @see recvmsg(2) */
function messageMemory(data: Buffer, controlLength: number): MessageMemory {
  const dataAt = CONTROL_AT + controlLength;
  const block = Buffer.alloc(dataAt + data.length);
  const address = addressOf(block);
  block.writeBigUInt64LE(address + BigInt(VECTOR_AT), 16);
  block.writeBigUInt64LE(1n, 24);
  block.writeBigUInt64LE(address + BigInt(CONTROL_AT), 32);
  block.writeBigUInt64LE(BigInt(controlLength), CONTROL_LENGTH_AT);
  block.writeBigUInt64LE(address + BigInt(dataAt), VECTOR_AT);
  block.writeBigUInt64LE(BigInt(data.length), VECTOR_AT + 8);
  data.copy(block, dataAt);
  return { block, control: block.subarray(CONTROL_AT, dataAt) };
}

function descriptorsOf(control: Buffer, bytes: number): number[] {
  if (bytes < CONTROL_HEADER_BYTES) return [];
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return [];
  const count = Math.floor((Number(control.readBigUInt64LE(0)) - CONTROL_HEADER_BYTES) / FD_BYTES);
  return Array.from({ length: count }, (_, index) => control.readInt32LE(CONTROL_HEADER_BYTES + FD_BYTES * index));
}

function callMethod(handle: unknown, name: string): void {
  if (typeof handle !== 'object' || handle === null) throw libraryError(name, constants.errno.EBADF);
  const method: unknown = Reflect.get(handle, name);
  if (typeof method !== 'function') throw libraryError(name, constants.errno.ENOSYS);
  Reflect.apply(method, handle, []);
}
