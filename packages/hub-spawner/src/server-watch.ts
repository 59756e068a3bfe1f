import type { Log, LogFields } from '@metalhub/base/log.js';
import {
  findServerOfUnit,
  type Key,
  type ServerId,
  type ServerName,
  serverId,
  serviceUnit,
} from '@metalhub/base/names.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { absentStatus, type ServerStatus } from '@metalhub/wire/spawner.js';
import { readServerUnit, type ServerUnit } from './server-units.js';

export const SERVICE_PATTERN = 'jupyter-*.service';

export type StatusListener = (status: ServerStatus) => void;

/** What systemd last said of each of our servers, kept current by its signals. It is a copy: systemd has the truth. */
export interface ServerWatch {
  /** Subscribes and reads all units once. */
  start(): Promise<void>;
  /** Reads all units afresh. */
  refreshAll(): Promise<void>;
  /** Servers that have a unit, in any state. */
  list(): ServerStatus[];
  /** Reads the unit afresh; listeners hear of it when it differs. */
  refresh(key: Key, server: ServerName): Promise<ServerUnit>;
  listen(listener: StatusListener): () => void;
  /** Resolves with the first status that fits, beginning with the present one. */
  waitFor(key: Key, server: ServerName, fits: (status: ServerStatus) => boolean): Promise<ServerStatus>;
  /** From now on a failed read is nobody's concern: the connection to systemd is being closed. */
  stop(): void;
}

export interface ServerWatchOptions {
  readonly manager: Manager;
  readonly log: Log;
  /** For each server whose unit has failed; it stays until it is reset. */
  readonly onFailed: (status: ServerStatus) => void;
}

export function createServerWatch({ manager, log, onFailed }: ServerWatchOptions): ServerWatch {
  const known = new Map<ServerId, ServerStatus>();
  const listeners = new Set<StatusListener>();
  const reading = new Map<ServerId, { again: boolean }>();
  let isStopped = false;

  function warn(message: string, fields: LogFields): void {
    if (!isStopped) log.warning(message, fields);
  }

  function publish(status: ServerStatus): void {
    const id = serverId(status.key, status.server);
    const before = known.get(id);
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(status)) return;
    known.set(id, status);
    for (const listener of [...listeners]) listener(status);
    if (status.active_state === 'failed' && before?.active_state !== 'failed') onFailed(status);
  }

  function forget(key: Key, server: ServerName): void {
    const id = serverId(key, server);
    const before = known.get(id);
    if (before === undefined) return;
    publish(absentStatus({ key, server }, before));
    known.delete(id);
  }

  async function refresh(key: Key, server: ServerName): Promise<ServerUnit> {
    const unit = await readServerUnit(manager, key, server);
    if (unit.ownership === 'ours') publish(unit.status);
    else forget(key, server);
    return unit;
  }

  /**
   * Reads the unit if systemd has it. To read one that it has not makes systemd load and drop it, and tell of both: whoever
   * reads it again for that never ends.
   */
  async function refreshLoaded(key: Key, server: ServerName): Promise<void> {
    if ((await manager.findUnit(serviceUnit(serverId(key, server)))) === undefined) forget(key, server);
    else await refresh(key, server);
  }

  /** Signals come in bursts: one reading at a time, and one more when something came meanwhile. */
  function refreshSoon(key: Key, server: ServerName): void {
    const id = serverId(key, server);
    const running = reading.get(id);
    if (running !== undefined) {
      running.again = true;
      return;
    }
    const state = { again: false };
    reading.set(id, state);
    void (async () => {
      do {
        state.again = false;
        await refreshLoaded(key, server);
      } while (state.again);
    })()
      // Lost with the connection: the resync that follows reads it again.
      .catch((err: unknown) => log.debug('unit could not be read', { unit: serviceUnit(id), err }))
      .finally(() => reading.delete(id));
  }

  async function refreshAll(): Promise<void> {
    const rows = await manager.listUnitsByPatterns([], [SERVICE_PATTERN]);
    const loaded = new Set(rows.map(({ name }) => name));
    for (const name of loaded) {
      const server = findServerOfUnit(name);
      if (server !== undefined) await refresh(server.key, server.server);
    }
    for (const { key, server } of [...known.values()]) {
      if (!loaded.has(serviceUnit(serverId(key, server)))) await refreshLoaded(key, server);
    }
  }

  function listen(listener: StatusListener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  return {
    async start() {
      manager.onUnitChanged((change) => {
        const server = findServerOfUnit(change.unit);
        if (server !== undefined) refreshSoon(server.key, server.server);
      }, SERVICE_PATTERN);
      manager.onResync(() => {
        void refreshAll().catch((err: unknown) => warn('units could not be listed again', { err }));
      });
      await manager.subscribe();
      await refreshAll();
    },
    stop() {
      isStopped = true;
    },
    list: () => [...known.values()],
    refresh,
    refreshAll,
    listen,
    waitFor(key, server, fits) {
      return new Promise((resolve, reject) => {
        const stop = listen((status) => {
          if (status.key !== key || status.server !== server || !fits(status)) return;
          stop();
          resolve(status);
        });
        refresh(key, server).then(
          ({ status }) => {
            if (!fits(status)) return;
            stop();
            resolve(status);
          },
          (error: unknown) => {
            stop();
            reject(error);
          },
        );
      });
    },
  };
}
