import { readFileSync } from 'node:fs';
import { systemErrorCode } from '@metalhub/base/errors.js';

const SHELLS_FILE = '/etc/shells';

/** The paths in shells(5) of this machine. */
export function readShells(): ReadonlySet<string> {
  try {
    return parseShells(readFileSync(SHELLS_FILE, 'utf8'));
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return parseShells(undefined);
    throw error;
  }
}

/** A missing file means the two that getusershell(3) assumes. */
export function parseShells(text: string | undefined): ReadonlySet<string> {
  if (text === undefined) return new Set(['/bin/sh', '/bin/csh']);
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim());
  return new Set(lines.filter((line) => line.startsWith('/')));
}
