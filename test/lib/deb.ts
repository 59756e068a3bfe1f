import { readFile } from 'node:fs/promises';
import type { Machine } from './machine.js';

export interface UserOptions {
  /** Groups besides the user's own. */
  readonly groups?: readonly string[];
}

/** Of a configuration file: who may log in, as shipped. */
export const PAM_LOGIN = '[[login]]\nmethod = "pam"\nallow = { groups = ["metalhub-users"] }\n';

/** The package under test: scripts/test builds it and says where it is. */
export function debPath(): string {
  const path = process.env['METALHUB_DEB'];
  if (path === undefined || path === '') throw new Error('METALHUB_DEB must name the package: run scripts/test');
  return path;
}

/** Where the package lies in the machine while it is being installed. */
const DEB_IN_MACHINE = '/var/tmp/metalhub.deb';

/**
 * Installs the package as an administrator would, by apt, with nothing but what the image has: what the package needs
 * must be there already. Asks no question. @throws with all that apt said when it fails
 */
export async function installDeb(machine: Machine, path: string = debPath()): Promise<string> {
  await machine.writeFile(DEB_IN_MACHINE, await readFile(path));
  const argv = ['apt-get', '-q', '-y', '-o', 'Dpkg::Use-Pty=0', 'install', '--reinstall', DEB_IN_MACHINE];
  return machine.run(['env', 'DEBIAN_FRONTEND=noninteractive', ...argv], { timeoutMs: 180_000 });
}

/** Makes an account of the machine that can log in with a password. */
export async function createUser(
  machine: Pick<Machine, 'run'>,
  name: string,
  password: string,
  options: UserOptions = {},
): Promise<void> {
  await machine.run(['useradd', '--create-home', '--shell', '/bin/bash', '--', name]);
  await machine.run(['chpasswd'], { input: `${name}:${password}\n` });
  for (const group of options.groups ?? []) await machine.run(['gpasswd', '--add', name, group]);
}
