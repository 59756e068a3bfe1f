import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';

export const SECRETS_DIRECTORY = '/etc/metalhub/secrets';

/** What each file holds, as text with a final newline. The daemons get them by `LoadCredential=`. */
const MAKERS = {
  /** Ed25519 private key, PKCS #8 in PEM: the hub signs tickets with it. */
  'ticket-key': makeSigningKey,
  /** 32 bytes in base64url: from it come the tokens of the users' servers. */
  'server-token-key': makeSymmetricKey,
  /** 32 bytes in base64url: signs the hub's cookies. */
  'cookie-key': makeSymmetricKey,
} as const;

/** Made when they are first needed. */
const OPTIONAL_MAKERS = {
  /** 32 bytes in base64url: another hub shows it to the proxy's route API. */
  'proxy-api-token': makeSymmetricKey,
} as const;

/** Makes a secret unless it is there. @throws the system error of the step that failed */
export async function ensureSecret(
  name: keyof typeof OPTIONAL_MAKERS,
  directory: string = SECRETS_DIRECTORY,
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, name);
  if (!(await exists(path))) await writeFileAtomic(path, OPTIONAL_MAKERS[name](), { mode: 0o600 });
}

/**
 * Makes the secrets that are missing and leaves the others alone; can be interrupted at any point and run again.
 *
 * The caller keeps two runs apart (the package manager's lock does).
 *
 * @returns the names of the new ones
 * @throws the system error of the step that failed
 */
export async function ensureSecrets(directory: string = SECRETS_DIRECTORY): Promise<string[]> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await removeLeftovers(directory);
  const made: string[] = [];
  for (const [name, make] of Object.entries(MAKERS)) {
    const path = join(directory, name);
    if (await exists(path)) continue;
    await writeFileAtomic(path, make(), { mode: 0o600 });
    made.push(name);
  }
  return made;
}

/** Half-written files of an interrupted run. */
async function removeLeftovers(directory: string): Promise<void> {
  for (const entry of await readdir(directory)) {
    const isLeftover = Object.keys(MAKERS).some((name) => entry.startsWith(`.${name}.`) && entry.endsWith('.tmp'));
    if (isLeftover) await unlink(join(directory, entry));
  }
}

/** A dangling link counts: an administrator who keeps a secret elsewhere does not want it replaced. */
async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

function makeSigningKey(): string {
  return generateKeyPairSync('ed25519', {
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey;
}

function makeSymmetricKey(): string {
  return `${randomBytes(32).toString('base64url')}\n`;
}
