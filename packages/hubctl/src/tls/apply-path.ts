import { MetalhubError } from '@metalhub/base/errors.js';
import type { Config } from '@metalhub/config/schema.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { replaceFile } from '../files.js';
import { TLS_PATH_DROP_IN, TLS_PATH_UNIT, tlsPathDropIn } from './path-drop-in.js';

/** @returns what was done, `undefined` when the unit watches these files already */
export async function applyTlsPath(manager: Manager, tls: Config['tls']): Promise<string | undefined> {
  if (!(await replaceFile(TLS_PATH_DROP_IN, tlsPathDropIn(tls)))) return undefined;
  await manager.reloadConfiguration();
  const { result } = await manager.restartUnit(TLS_PATH_UNIT, 'replace');
  if (result !== 'done') {
    const hint = `see: journalctl -u ${TLS_PATH_UNIT} -n 20`;
    throw new MetalhubError('MH_ERR_SYSTEMD_JOB_FAILED', { details: { unit: TLS_PATH_UNIT, result }, hint });
  }
  return tls.cert_file === '' ? undefined : `${TLS_PATH_UNIT} watches ${tls.cert_file} and ${tls.key_file}`;
}
