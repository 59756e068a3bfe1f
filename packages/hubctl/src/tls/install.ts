import { readFileSync, rmSync } from 'node:fs';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Config } from '@metalhub/config/schema.js';
import { findGroup } from '@metalhub/systemd/accounts.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { readIfThere } from '../files.js';
import { type CertificateFiles, checkCertificate } from './certificate.js';

/** What hub-proxy reads: key and chain in one file, so that it never finds one without the other. */
export const INSTALLED_FILE = '/var/lib/metalhub/proxy-tls/current.pem';
const PROXY_GROUP = 'metalhub-proxy';

/** @throws {MH_ERR_TLS_FILE} one of the files cannot be read */
export function readCertificateFiles({ cert_file: certFile, key_file: keyFile }: Config['tls']): CertificateFiles {
  return { certFile, cert: readText(certFile), keyFile, key: readText(keyFile) };
}

/** What the configured files would be installed as; `undefined` without TLS, or when one cannot be read. */
export function readConfigured(tls: Config['tls']): string | undefined {
  if (tls.cert_file === '') return undefined;
  try {
    return bundleOf(readCertificateFiles(tls));
  } catch (error) {
    if (error instanceof MetalhubError) return undefined;
    throw error;
  }
}

/** Whether the configured files differ from what the proxy was given; `undefined` without TLS, or when it cannot be read. */
export function isChanged(tls: Config['tls'], installedFile = INSTALLED_FILE): boolean | undefined {
  const configured = readConfigured(tls);
  return configured === undefined ? undefined : configured !== readIfThere(installedFile);
}

/**
 * Gives certificate and key to the proxy, when they are good; takes them away when there is to be no TLS.
 *
 * @returns what changed
 * @throws {MH_ERR_TLS_FILE} they are not good: what was installed before is untouched
 */
export async function installCertificate(
  tls: Config['tls'],
  nowMs: number,
  installedFile = INSTALLED_FILE,
): Promise<'installed' | 'removed' | 'unchanged'> {
  const installed = readIfThere(installedFile);
  if (tls.cert_file === '') {
    if (installed === undefined) return 'unchanged';
    rmSync(installedFile);
    return 'removed';
  }
  const files = readCertificateFiles(tls);
  checkCertificate(files, nowMs);
  const bundle = bundleOf(files);
  if (bundle === installed) return 'unchanged';
  const group = await findGroup(PROXY_GROUP);
  const owner = group === undefined ? {} : { gid: group.gid };
  await writeFileAtomic(installedFile, bundle, { mode: group === undefined ? 0o600 : 0o640, ...owner });
  return 'installed';
}

export function isInstalled(installedFile = INSTALLED_FILE): boolean {
  return readIfThere(installedFile) !== undefined;
}

function bundleOf({ cert, key }: CertificateFiles): string {
  return `${key.trimEnd()}\n${cert.trimEnd()}\n`;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const code = systemErrorCode(cause);
    const reason =
      code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'may be read by root only' : errorText(cause);
    throw new MetalhubError('MH_ERR_TLS_FILE', { details: { file, reason }, cause });
  }
}
