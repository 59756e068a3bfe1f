import { MetalhubError } from '@metalhub/base/errors.js';
import type { Config } from '@metalhub/config/schema.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { requireJobDone } from '@metalhub/systemd/manager-jobs.js';
import { readIfThere, replaceFile } from './files.js';
import { API_LISTEN_DROP_IN, API_SOCKET, apiListenDropIn, TCP_DROP_IN, tcpDropIn } from './proxy-tcp-drop-in.js';

const SERVICE = 'hub-proxy.service';

export function isTcpEnabled(): boolean {
  return readIfThere(TCP_DROP_IN) !== undefined;
}

/**
 * Before anything is changed. No matter while the proxy has no TCP: then the address is anybody's.
 * @throws {MH_ERR_CLI_LISTEN}
 */
export function checkApiAddress({ proxy }: Config): void {
  if (!proxy.listen.includes(proxy.api_listen)) return;
  throw new MetalhubError('MH_ERR_CLI_LISTEN', {
    details: { addresses: `${proxy.api_listen} twice`, outcome: 'it is in proxy.listen and is proxy.api_listen' },
    hint: 'choose another proxy.api_listen',
  });
}

/**
 * Makes the units say what the configuration does, and restarts the proxy when they did not, which drops nobody.
 *
 * @param isWanted whether the proxy may use TCP at all
 * @returns whether anything was done
 * @throws {MH_ERR_SYSTEMD_JOB_FAILED}
 */
export async function applyTcp(manager: Manager, { proxy }: Config, isWanted: boolean): Promise<boolean> {
  const changed = [
    await replaceFile(TCP_DROP_IN, isWanted ? tcpDropIn(proxy.upstream_ranges) : undefined),
    await replaceFile(API_LISTEN_DROP_IN, isWanted ? apiListenDropIn(proxy.api_listen) : undefined),
  ];
  const [hasUnit, hasSocket] = changed;
  if (hasUnit === true || hasSocket === true) await manager.reloadConfiguration();
  const [socket] = await manager.listUnitsByPatterns([], [API_SOCKET]);
  const isListening = socket?.activeState === 'active';
  if (hasUnit !== true && hasSocket !== true && isListening === isWanted) return false;
  // It can only be started while the proxy is not running: the restart sees to that.
  if (isListening && (!isWanted || hasSocket === true)) await manager.stopUnit(API_SOCKET, 'replace');
  if (socket?.activeState === 'failed') await manager.resetFailedUnit(API_SOCKET);
  requireJobDone(await manager.restartUnit(SERVICE, 'replace'));
  if (isWanted) await requireListening(manager, proxy.api_listen);
  return true;
}

/** The proxy starts without it as well. */
async function requireListening(manager: Manager, address: string): Promise<void> {
  const [socket] = await manager.listUnitsByPatterns([], [API_SOCKET]);
  if (socket?.activeState === 'active') return;
  throw new MetalhubError('MH_ERR_CLI_LISTEN', {
    details: { addresses: address, outcome: 'the route API is not served' },
    hint: `choose another proxy.api_listen, then "hubctl apply"; see: journalctl -u ${API_SOCKET} -n 20`,
  });
}
