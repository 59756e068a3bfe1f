import { lastErrno, libcFunction, libraryError } from './native.js';

const TCSANOW = 0;
/** More than the `struct termios` of any architecture; libc alone looks inside. */
const TERMIOS_BYTES = 128;

const tcgetattr = libcFunction<[number, Buffer], number>('tcgetattr', 'int', ['int', 'void *']);
const tcsetattr = libcFunction<[number, number, Buffer], number>('tcsetattr', 'int', ['int', 'int', 'void *']);
const cfmakeraw = libcFunction<[Buffer], void>('cfmakeraw', 'void', ['void *']);

/**
 * Has a terminal pass on every byte as it is, in both directions. Node's own raw mode still turns line feeds into two
 * characters, which full-screen programs behind a pseudo-terminal do not expect.
 *
 * @throws {MH_ERR_SYSTEMD_LIBRARY} not a terminal
 */
export function makeTerminalRaw(fd: number): void {
  const termios = Buffer.alloc(TERMIOS_BYTES);
  if (tcgetattr(fd, termios) !== 0) throw libraryError('tcgetattr', lastErrno());
  cfmakeraw(termios);
  if (tcsetattr(fd, TCSANOW, termios) !== 0) throw libraryError('tcsetattr', lastErrno());
}
