import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { JobOutcome } from '@metalhub/systemd/manager-jobs.js';
import { readIfThere, replaceFile } from './files.js';
import { LISTEN_DROP_IN, listenDropIn, listensOn } from './listen-drop-in.js';

const SOCKET = 'hub-proxy.socket';
const SERVICE = 'hub-proxy.service';

/**
 * Makes the public socket listen on these addresses. What it does listen on is asked of systemd, so that a run that was
 * interrupted, or failed, can be repeated.
 *
 * @returns what was done, `undefined` when there was nothing to do
 * @throws {MH_ERR_CLI_LISTEN} not possible; the addresses of before are in force again
 */
export async function applyListen(
  manager: Manager,
  listen: readonly string[],
  dropIn: string = LISTEN_DROP_IN,
): Promise<string | undefined> {
  const state = await readState(manager, dropIn);
  const before = readIfThere(dropIn);
  // An administrator's own drop-in may add addresses: then systemd has read what is wanted, and listens on more.
  const isLoaded = listensOn(state.listen, listen) || (before === listenDropIn(listen) && !state.needsReload);
  if (isLoaded && (state.activeState === 'inactive' || (state.activeState === 'active' && !state.isStale))) {
    return undefined;
  }
  await replaceFile(dropIn, listenDropIn(listen));
  await manager.reloadConfiguration();
  // It was stopped by somebody, who decides when it starts.
  if (state.activeState === 'inactive') return `${SOCKET} will listen on ${listen.join(', ')} when it is started`;
  const failed = await restart(manager);
  if (failed === undefined) return `${SOCKET} listens on ${listen.join(', ')}`;
  await replaceFile(dropIn, before);
  await manager.reloadConfiguration();
  const stillFailed = await restart(manager);
  throw new MetalhubError('MH_ERR_CLI_LISTEN', {
    details: {
      addresses: listen.join(', '),
      outcome: stillFailed === undefined ? 'those of before are in force again' : 'nor on those of before',
    },
    hint: `see: journalctl -u ${SOCKET} -n 20`,
  });
}

/** Takes the proxy along (Requires=), as a restart and not as a stop: open connections go on. */
async function restart(manager: Manager): Promise<JobOutcome | undefined> {
  // Its start limit counts every restart; once reached, not even the addresses of before would be bound again.
  await manager.resetFailedUnit(SOCKET);
  const socket = await manager.restartUnit(SOCKET, 'replace');
  if (socket.result !== 'done') return socket;
  const service = await manager.startUnit(SERVICE, 'replace');
  return service.result === 'done' ? undefined : service;
}

async function readState(manager: Manager, dropIn: string) {
  const [{ Listen: listen }, { ActiveState, ActiveEnterTimestamp, NeedDaemonReload }] = await Promise.all([
    manager.unitProperties(SOCKET, 'Socket', ['Listen']),
    manager.unitProperties(SOCKET, 'Unit', ['ActiveState', 'ActiveEnterTimestamp', 'NeedDaemonReload']),
  ]);
  const enteredMs = Number(ActiveEnterTimestamp) / 1000;
  // `Listen` is what the files say: between daemon-reload and restart the unit does not listen there yet.
  return {
    listen,
    activeState: String(ActiveState),
    isStale: changedMs(dirname(dropIn)) > enteredMs,
    needsReload: NeedDaemonReload !== false,
  };
}

function changedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
