import { readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import type { Shape } from '@metalhub/base/shape.js';

/**
 * Small files below /run that outlive their writer. What they hold is never a reason to fail: one that cannot be written or
 * read is done without.
 */

const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** Replaces it; a reader finds the old content or the new one. It need not survive a power loss: /run does not. */
export function writeRunFile(path: string, content: unknown): void {
  try {
    writeFileSync(`${path}.tmp`, JSON.stringify(content), { mode: 0o600 });
    renameSync(`${path}.tmp`, path);
  } catch {
    removeRunFile(`${path}.tmp`);
  }
}

export function readRunFile<T>(path: string, shape: Shape<T>): T | undefined {
  try {
    const content = readFileSync(path);
    return content.length > MAX_FILE_BYTES ? undefined : shape(JSON.parse(content.toString()), '');
  } catch {
    return undefined;
  }
}

export function removeRunFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not there.
  }
}
