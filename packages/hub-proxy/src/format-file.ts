import { readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { formatFilePath } from './generation-protocol.js';
import { STATE_FORMAT } from './state-format.js';

/** Says beside a worker's socket which form of the state it understands. */
export function writeFormat(socketPath: string): void {
  const file = formatFilePath(socketPath);
  try {
    writeFileSync(file, `${STATE_FORMAT}\n`, { mode: 0o600 });
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOSPC') throw error;
    // /run is full. What a link says takes no room there.
    rmSync(file, { force: true });
    symlinkSync(String(STATE_FORMAT), file);
  }
}

/** Workers of the first version wrote no such file. */
export function readFormat(socketPath: string): number {
  const file = formatFilePath(socketPath);
  const format = Number(attempt(() => readFileSync(file, 'utf8')) ?? attempt(() => readlinkSync(file)));
  return Number.isSafeInteger(format) && format > 0 ? format : 1;
}

function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
