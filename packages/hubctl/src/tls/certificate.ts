import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';

/** The configured files and what they hold. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly cert: string;
  readonly keyFile: string;
  readonly key: string;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Whether visitors could be served with these: both can be read, belong together, are valid now, and the chain is in order.
 *
 * @returns the server's own certificate
 * @throws {MH_ERR_TLS_FILE} naming the file that is wrong, and why
 */
export function checkCertificate({ certFile, cert, keyFile, key }: CertificateFiles, nowMs: number): X509Certificate {
  const chain = parseChain(certFile, cert);
  const [leaf] = chain;
  if (leaf === undefined) throw fileError(certFile, 'holds no certificate (PEM, "-----BEGIN CERTIFICATE-----")');
  const privateKey = parseKey(keyFile, key);
  if (!leaf.checkPrivateKey(privateKey)) {
    const other = chain.findIndex((candidate) => candidate.checkPrivateKey(privateKey));
    if (other > 0) throw fileError(certFile, `the server's own certificate must come first; it is number ${other + 1}`);
    throw fileError(keyFile, `is not the key of the certificate in ${certFile}`);
  }
  if (Date.parse(leaf.validTo) <= nowMs) throw fileError(certFile, `expired on ${dayOf(leaf.validTo)}`);
  if (Date.parse(leaf.validFrom) > nowMs) throw fileError(certFile, `is not valid before ${dayOf(leaf.validFrom)}`);
  for (const [index, issuer] of chain.slice(1).entries()) {
    if (chain[index]?.checkIssued(issuer) === false) {
      throw fileError(certFile, `certificate ${index + 2} of the chain did not issue certificate ${index + 1}`);
    }
  }
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    throw fileError(certFile, `the TLS library refuses it: ${errorText(cause)}`, cause);
  }
  return leaf;
}

/** Whole days until it expires; negative afterwards. */
export function daysLeft(certificate: X509Certificate, nowMs: number): number {
  return Math.floor((Date.parse(certificate.validTo) - nowMs) / 86_400_000);
}

function parseChain(file: string, text: string): X509Certificate[] {
  const blocks = text.match(CERTIFICATE) ?? [];
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw fileError(file, `certificate ${index + 1} cannot be read: ${errorText(cause)}`, cause);
    }
  });
}

function parseKey(file: string, text: string): KeyObject {
  if (/ENCRYPTED/.test(text))
    throw fileError(file, 'is encrypted with a passphrase: nobody could type it at the start');
  try {
    return createPrivateKey(text);
  } catch (cause) {
    throw fileError(file, 'holds no private key (PEM, "-----BEGIN PRIVATE KEY-----")', cause);
  }
}

function dayOf(date: string): string {
  return new Date(date).toISOString().slice(0, 10);
}

function fileError(file: string, reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_TLS_FILE', { details: { file, reason }, cause });
}
