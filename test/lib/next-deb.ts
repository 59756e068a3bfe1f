import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { debPath } from './deb.js';

export const NEXT_VERSION = '99.0.0';

/** The package under test once more, under a version that apt takes for newer. @param directory for its parts */
export function makeNextDeb(directory: string): string {
  const tree = join(directory, 'tree');
  execFileSync('dpkg-deb', ['-R', debPath(), tree]);
  const control = join(tree, 'DEBIAN', 'control');
  writeFileSync(control, readFileSync(control, 'utf8').replace(/^Version: .*$/m, `Version: ${NEXT_VERSION}`));
  const next = join(directory, 'next.deb');
  execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '-b', tree, next]);
  return next;
}
