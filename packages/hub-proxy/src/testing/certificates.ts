import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsSettings } from '../edge-settings.js';
import { makeTicketKey } from '../tls-material.js';

export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A certificate that signs itself, for a day, made by openssl(1). */
export function makeCertificate(names: readonly string[] = ['hub.example.org', 'localhost']): TestCertificate {
  const directory = mkdtempSync(join(tmpdir(), 'certificate-'));
  try {
    const files = ['-keyout', join(directory, 'key'), '-out', join(directory, 'cert')];
    const subject = ['-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${names.map((n) => `DNS:${n}`).join(',')}`];
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
    execFileSync('openssl', ['req', ...kind, ...subject, ...files], { stdio: 'pipe' });
    return { cert: readFileSync(join(directory, 'cert'), 'utf8'), key: readFileSync(join(directory, 'key'), 'utf8') };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function tlsSettings({ cert, key }: TestCertificate, changes: Partial<TlsSettings> = {}): TlsSettings {
  return {
    pem: key + cert,
    ticket_key: makeTicketKey().toString('base64'),
    http2: true,
    min_version: '1.2',
    hsts_max_age_sec: 0,
    redirect_addresses: [],
    ...changes,
  };
}
