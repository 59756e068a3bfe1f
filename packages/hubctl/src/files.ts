import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';

/** `undefined` when it does not exist. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Makes a file say this, or removes it.
 * @returns whether it had to be changed
 */
export async function replaceFile(path: string, wanted: string | undefined): Promise<boolean> {
  if (readIfThere(path) === wanted) return false;
  if (wanted === undefined) rmSync(path);
  else {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    await writeFileAtomic(path, wanted, { mode: 0o644 });
  }
  return true;
}
