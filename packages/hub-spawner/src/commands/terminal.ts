import { type BigIntStats, fstat, stat } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { MetalhubError } from '@metalhub/base/errors.js';

/**
 * The path of a pseudo-terminal that the caller holds open and has made itself.
 *
 * systemd opens the path as root and gives the terminal to the user, so it must not be anybody else's: its owner is the
 * caller, and as long as the descriptor is open its number is given to no other.
 *
 * @throws {MH_ERR_SPAWN_DESCRIPTORS}
 */
export async function requireOwnTerminal(fd: number, uid: number): Promise<string> {
  const path = await readlink(`/proc/self/fd/${fd}`).catch(() => '');
  if (!/^\/dev\/pts\/[0-9]{1,10}$/.test(path)) throw refusal('not a pseudo-terminal');
  const [held, named] = await Promise.all([status(fd), status(path)]).catch(() => [undefined, undefined]);
  // Another instance of devpts, as containers have it, has the same paths.
  const isSame = held !== undefined && named !== undefined && held.dev === named.dev && held.ino === named.ino;
  if (!isSame || !held.isCharacterDevice() || held.rdev !== named.rdev) throw refusal('a terminal of elsewhere');
  if (held.uid !== BigInt(uid)) throw refusal("somebody else's terminal");
  return path;
}

function status(file: number | string): Promise<BigIntStats> {
  if (typeof file === 'number') return promisify(fstat)(file, { bigint: true }) as Promise<BigIntStats>;
  return promisify(stat)(file, { bigint: true }) as Promise<BigIntStats>;
}

function refusal(reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_DESCRIPTORS', { details: { reason } });
}
