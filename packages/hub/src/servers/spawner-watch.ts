import type { Log } from '@metalhub/base/log.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import type { SpawnerClient, WatchEvent } from '../clients/spawner-client.js';

export interface SpawnerWatchOptions {
  spawner: SpawnerClient;
  /** Whether there is anything to watch: the spawner ends when nobody asks and nothing runs. */
  isNeeded: () => boolean;
  onSnapshot: (servers: readonly ServerStatus[]) => void;
  onChange: (server: ServerStatus) => void;
  sleep: (milliseconds: number) => Promise<void>;
  clock: Clock;
  log: Log;
}

/** A restart of the spawner is over by then. */
const LONG_AWAY_MS = 10 * SECOND_MS;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 10_000;

/** Follows the spawner's list while there is a server, and connects again when the spawner was restarted. */
export class SpawnerWatch {
  readonly #options: SpawnerWatchOptions;
  #running: Promise<void> | undefined;
  #current: AbortController | undefined;
  #hasSnapshot = false;
  #isClosed = false;
  #isReachable: boolean | null = null;
  /** Monotonic; `undefined` while the spawner is there. */
  #awaySinceMs: number | undefined;
  #isAwayLong = false;

  constructor(options: SpawnerWatchOptions) {
    this.#options = options;
  }

  /** Whether the list of the spawner has been seen since this process started. */
  get hasSnapshot(): boolean {
    return this.#hasSnapshot;
  }

  /** `null` while there is no need to know. */
  get isReachable(): boolean | null {
    return this.#isReachable;
  }

  /** Begins to watch when it is needed and does not happen already; ends it when it is not needed any more. */
  adjust(): void {
    if (this.#isClosed) return;
    if (!this.#isNeeded()) this.#current?.abort();
    else {
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
        this.#isReachable = null;
        this.#awaySinceMs = undefined;
        this.#isAwayLong = false;
      });
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#current?.abort();
  }

  #isNeeded(): boolean {
    return !this.#isClosed && (!this.#hasSnapshot || this.#options.isNeeded());
  }

  async #run(): Promise<void> {
    const { spawner, sleep } = this.#options;
    for (let pauseMs = FIRST_PAUSE_MS; this.#isNeeded(); pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const current = new AbortController();
      this.#current = current;
      const snapshot: ServerStatus[] = [];
      try {
        await spawner.watch((event) => {
          pauseMs = FIRST_PAUSE_MS;
          this.#take(event, snapshot);
        }, current.signal);
      } catch (error) {
        if (current.signal.aborted) continue;
        this.#isReachable = false;
        this.#noteAway(error);
      }
      if (this.#isNeeded()) await sleep(pauseMs);
    }
  }

  /** A restart is nothing to worry about; what takes longer is said once. */
  #noteAway(error: unknown): void {
    const { clock, log } = this.#options;
    if (this.#awaySinceMs === undefined) log.info('hub-spawner went away; trying again', { err: error });
    this.#awaySinceMs ??= clock.monotonicMs();
    if (this.#isAwayLong || clock.monotonicMs() - this.#awaySinceMs < LONG_AWAY_MS) return;
    this.#isAwayLong = true;
    log.warning('hub-spawner does not come back; trying on', { err: error });
  }

  #take({ change, server }: WatchEvent, snapshot: ServerStatus[]): void {
    const { onSnapshot, onChange, log } = this.#options;
    if (change === 'snapshot-end') {
      if (this.#isReachable === false) log.info('hub-spawner is back');
      this.#isReachable = true;
      this.#awaySinceMs = undefined;
      this.#isAwayLong = false;
      this.#hasSnapshot = true;
      onSnapshot(snapshot);
      this.adjust();
    } else if (server !== null) {
      if (change === 'snapshot') snapshot.push(server);
      else onChange(server);
    }
  }
}
