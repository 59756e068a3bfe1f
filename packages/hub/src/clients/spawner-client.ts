import { SECOND_MS } from '@metalhub/base/time.js';
import { connectWire, type WireClient } from '@metalhub/wire/client.js';
import type { EventOf, ParamsOf } from '@metalhub/wire/protocol.js';
import { type ServerStatus, type SpawnerRequests, spawnerProtocol } from '@metalhub/wire/spawner.js';

export type StartRequest = ParamsOf<SpawnerRequests, 'StartServer'>;
export type StartEvent = EventOf<SpawnerRequests, 'StartServer'>;
export type WatchEvent = EventOf<SpawnerRequests, 'Watch'>;
export type ServerRef = ParamsOf<SpawnerRequests, 'StopServer'>;

const SHORT_TIMEOUT_MS = 30 * SECOND_MS;

/** One connection per request: ending one (a time-out, a cancelled watch) never touches another. */
export class SpawnerClient {
  readonly #path: string | undefined;

  constructor(options: { path?: string } = {}) {
    this.#path = options.path;
  }

  startServer(request: StartRequest, onEvent: (event: StartEvent) => void, timeoutMs: number): Promise<ServerStatus> {
    return this.#use((client) => client.call('StartServer', request, { onEvent, timeoutMs }));
  }

  stopServer({ key, server }: ServerRef, timeoutMs: number): Promise<ServerStatus> {
    return this.#use((client) => client.call('StopServer', { key, server }, { timeoutMs }));
  }

  /** @throws {MH_ERR_SPAWN_NOT_RUNNING} {MH_ERR_SPAWN_LIMIT} */
  async setLimits(request: ParamsOf<SpawnerRequests, 'SetLimits'>): Promise<void> {
    await this.#use((client) => client.call('SetLimits', request, { timeoutMs: SHORT_TIMEOUT_MS }));
  }

  /** @throws {MH_ERR_SPAWN_NOT_RUNNING} */
  setFrozen({ key, server }: ServerRef, isFrozen: boolean): Promise<ServerStatus> {
    const method = isFrozen ? 'Freeze' : 'Thaw';
    return this.#use((client) => client.call(method, { key, server }, { timeoutMs: SHORT_TIMEOUT_MS }));
  }

  getStatus({ key, server }: ServerRef): Promise<ServerStatus> {
    return this.#use((client) => client.call('Status', { key, server }, { timeoutMs: SHORT_TIMEOUT_MS }));
  }

  /** Ends only by failing: when the spawner goes away, or when `signal` is aborted. */
  async watch(onEvent: (event: WatchEvent) => void, signal: AbortSignal): Promise<void> {
    await this.#use((client) => client.call('Watch', {}, { onEvent, signal }));
  }

  async #use<T>(work: (client: WireClient<SpawnerRequests>) => Promise<T>): Promise<T> {
    const client = await connectWire(spawnerProtocol, this.#path === undefined ? {} : { path: this.#path });
    try {
      return await work(client);
    } finally {
      client.close();
    }
  }
}
