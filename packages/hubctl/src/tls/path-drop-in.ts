import { dirname } from 'node:path';
import type { Config } from '@metalhub/config/schema.js';

export const TLS_PATH_UNIT = 'hub-proxy-tls.path';
export const TLS_PATH_DROP_IN = '/etc/systemd/system/hub-proxy-tls.path.d/50-metalhub-tls.conf';

/**
 * Makes systemd look at the configured files and at the directories they lie in: a symbolic link that is replaced, as
 * certbot does, is a change of the directory only. `undefined` without TLS.
 */
export function tlsPathDropIn({ cert_file, key_file }: Config['tls']): string | undefined {
  if (cert_file === '') return undefined;
  const paths = new Set([cert_file, key_file, dirname(cert_file), dirname(key_file)]);
  const lines = [...paths].sort().map((path) => `PathChanged=${path.replaceAll('%', '%%')}`);
  return [
    '# Written by hubctl apply from tls.cert_file and tls.key_file in metalhub.toml.',
    '[Path]',
    ...lines,
    '',
  ].join('\n');
}
