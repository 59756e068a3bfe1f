import type { Config } from '@metalhub/config/schema.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { requireJobDone } from '@metalhub/systemd/manager-jobs.js';
import { replaceFile } from '../files.js';
import { TLS_PATH_DROP_IN, TLS_PATH_UNIT, tlsPathDropIn } from './path-drop-in.js';

/** @returns what was done, `undefined` when the unit watches these files already */
export async function applyTlsPath(manager: Manager, tls: Config['tls']): Promise<string | undefined> {
  if (!(await replaceFile(TLS_PATH_DROP_IN, tlsPathDropIn(tls)))) return undefined;
  await manager.reloadConfiguration();
  requireJobDone(await manager.restartUnit(TLS_PATH_UNIT, 'replace'));
  return tls.cert_file === '' ? undefined : `${TLS_PATH_UNIT} watches ${tls.cert_file} and ${tls.key_file}`;
}
