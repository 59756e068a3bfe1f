import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import { takeSystemdEnvironment } from './environment.js';

/**
 * Reads a credential handed over with `LoadCredential=`. The caller holds a secret: it never logs it.
 *
 * @param name as in the unit, `[a-zA-Z0-9_.-]+`
 * @throws {MH_ERR_SYSTEMD_CREDENTIAL} names the file that was looked for
 * @see systemd.exec(5), CREDENTIALS
 */
export function readCredential(name: string): Buffer {
  const credential = findCredential(name);
  if (credential !== undefined) return credential;
  const directory = takeSystemdEnvironment().credentialsDirectory;
  const reason =
    directory === undefined ? 'CREDENTIALS_DIRECTORY is not set' : `${join(directory, name)} does not exist`;
  throw credentialError(name, reason);
}

/** Like {@link readCredential}, as text without the line break at its end. */
export function readCredentialText(name: string): string {
  return readCredential(name)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

/**
 * Like {@link readCredential}, `undefined` when the unit has no such credential.
 *
 * @throws {MH_ERR_SYSTEMD_CREDENTIAL} it is there and cannot be read
 */
export function findCredential(name: string): Buffer | undefined {
  if (!/^[a-zA-Z0-9_.-]+$/.test(name) || name.startsWith('.')) throw credentialError(name, 'not a credential name');
  const directory = takeSystemdEnvironment().credentialsDirectory;
  if (directory === undefined) return undefined;
  const file = join(directory, name);
  try {
    return readFileSync(file);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw credentialError(name, `${file}: ${errorText(error)}`, error);
  }
}

function credentialError(name: string, reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_SYSTEMD_CREDENTIAL', {
    details: { name, reason },
    hint: `the unit needs LoadCredential=${name}:/etc/metalhub/secrets/${name}, and it must be started by systemd`,
    cause,
  });
}
