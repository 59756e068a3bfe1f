import type { X509Certificate } from 'node:crypto';
import { lstatSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import type { Config } from '@metalhub/config/schema.js';
import { findConfig } from '../find-config.js';
import { checkCertificate, daysLeft } from '../tls/certificate.js';
import { INSTALLED_FILE, isChanged, readCertificateFiles } from '../tls/install.js';
import { type Check, type Finding, failed, ok, skipped, warning } from './check.js';

const SOON_DAYS = 14;

/** The configured certificate, and the one that visitors get: they differ when a replacement is not good. */
export const checkTls: Check = async ({ isRoot }) => {
  const config = findConfig();
  if (config === undefined || config.tls.cert_file === '') return [];
  if (!isRoot) return [skipped('certificate', 'its key is root’s')];
  return [...checkConfigured(config), checkKeyFile(config.tls.key_file), checkInstalled(config)];
};

function checkConfigured({ tls, public_url, proxy }: Config): Finding[] {
  const subject = `certificate ${tls.cert_file}`;
  try {
    const leaf = checkCertificate(readCertificateFiles(tls), Date.now());
    const names = [new URL(public_url).hostname, ...proxy.hosts];
    return [judgeExpiry(subject, leaf), ...names.map((name) => judgeName(leaf, name, tls.cert_file))];
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return [failed(subject, error.message, 'mend the files, then systemctl reload hub-proxy')];
  }
}

function judgeExpiry(subject: string, leaf: X509Certificate): Finding {
  const days = daysLeft(leaf, Date.now());
  const text = `valid for ${days} more days`;
  if (days >= SOON_DAYS) return ok(subject, text);
  return warning(subject, text, 'renew it, for example: certbot renew');
}

function judgeName(leaf: X509Certificate, host: string, file: string): Finding {
  const subject = `certificate for ${host}`;
  const bare = host.replace(/^\[|\]$/g, '');
  const isCovered = leaf.checkHost(bare) !== undefined || leaf.checkIP(bare) !== undefined;
  if (isCovered) return ok(subject, 'covers the name');
  return failed(subject, `${file} does not cover this name: browsers warn`, 'get a certificate for all names');
}

function checkKeyFile(file: string): Finding {
  const subject = `key ${file}`;
  try {
    const { mode } = statSync(realpathSync(file));
    if ((mode & 0o007) === 0) return ok(subject, 'not readable by everybody');
    return failed(subject, 'can be read by every account of the machine', `chmod 600 ${file}, and replace the key`);
  } catch (error) {
    return failed(subject, errorText(error), 'set tls.key_file, then hubctl apply');
  }
}

function checkInstalled({ tls }: Config): Finding {
  const subject = 'certificate in use';
  const stat = lstatSync(INSTALLED_FILE, { throwIfNoEntry: false });
  if (stat === undefined) return failed(subject, 'there is none', 'hubctl apply');
  if (stat.uid !== 0 || (stat.mode & 0o137) !== 0) {
    const fix = `rm ${INSTALLED_FILE}, then systemctl reload hub-proxy`;
    return failed(subject, `${INSTALLED_FILE} has owner ${stat.uid} and mode ${(stat.mode & 0o777).toString(8)}`, fix);
  }
  const text = readFileSync(INSTALLED_FILE, 'utf8');
  const files = { certFile: INSTALLED_FILE, cert: text, keyFile: INSTALLED_FILE, key: text };
  try {
    const leaf = checkCertificate(files, Date.now());
    if (isChanged(tls) !== true) return judgeExpiry(subject, leaf);
    return warning(subject, `is not the one in ${tls.cert_file}`, 'systemctl reload hub-proxy');
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return failed(subject, error.message, 'mend tls.cert_file, then systemctl reload hub-proxy');
  }
}
