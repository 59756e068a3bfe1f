import type { Machine } from './machine.js';

/** One frame of our protocols, as text of one byte per character. */
export function frame(message: unknown): string {
  const body = Buffer.from(JSON.stringify(message));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]).toString('latin1');
}

/**
 * What an account gets that sends the bytes to a socket of the machine, then waits for an answer: `answer`, `closed`, or
 * the name of Python's exception.
 *
 * @param prefix how to become the account, as `['setpriv', '--reuid=eve', …]`; empty for root
 */
export async function sendRaw(
  machine: Machine,
  path: string,
  prefix: readonly string[],
  bytes: string,
): Promise<string> {
  const code = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(bytes.fromhex(sys.argv[2]))
    print("answer" if s.recv(1) else "closed")
except OSError as error:
    print(type(error).__name__)
`;
  const argv = ['python3', '-c', code, path, Buffer.from(bytes, 'latin1').toString('hex')];
  return (await machine.run([...prefix, ...argv])).trim();
}
