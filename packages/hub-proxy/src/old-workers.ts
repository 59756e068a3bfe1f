import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import type { Log } from '@metalhub/base/log.js';
import { type Clock, MINUTE_MS } from '@metalhub/base/time.js';
import type { CounterLedger } from './counter-ledger.js';
import { compareWorkers, parseSocketName, socketName, type WorkerName } from './worker-name.js';
import {
  isConnectionLost,
  isNobodyThere,
  killWorker,
  removeSocket,
  type StateSource,
  WorkerProcess,
} from './worker-process.js';

/**
 * A worker that does not answer for so long is killed. Not sooner: one that was only stopped, or starved, goes on with its
 * connections when it runs again, and in the meantime others accept.
 */
const HUNG_MS = 2 * MINUTE_MS;

const LOST_WAIT_MS = 200;

export interface OldWorkersOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly ledger: CounterLedger;
  readonly state: StateSource;
}

/** Workers that no longer accept: found in the directory of their sockets, and kept in sight until they have ended. */
export class OldWorkers {
  readonly #options: OldWorkersOptions;
  /** By the name of the socket. */
  readonly #workers = new Map<string, WorkerProcess>();
  /** Those that may live but are not connected, with the monotonic time since when. */
  readonly #missed = new Map<string, { name: WorkerName; sinceMs: number }>();
  /** Looks at a socket that are under way: two would find the same worker twice, or count its end twice. */
  readonly #adopting = new Map<string, Promise<WorkerProcess | undefined>>();

  constructor(options: OldWorkersOptions) {
    this.#options = options;
  }

  list(): WorkerProcess[] {
    return [...this.#workers.values()].sort((a, b) => compareWorkers(a.name, b.name));
  }

  add(worker: WorkerProcess): void {
    const key = socketName(worker.name);
    this.#workers.set(key, worker);
    void worker.gone.then(() => {
      this.#workers.delete(key);
      // Most often it has ended; it may also have been too slow to answer.
      void this.adoptLost(worker.name);
    });
  }

  /** Adopts all there are. @returns the highest number of a generation that has been used, 0 when there was none */
  async adoptAll(): Promise<number> {
    const { directory, log } = this.#options;
    const names = readdirSync(directory)
      .map(parseSocketName)
      .filter((name) => name !== undefined);
    await Promise.all(names.map((name) => this.#adopt(name)));
    const count = this.#workers.size;
    if (count > 0) log.info('earlier generations go on until their connections end', { workers: count });
    return Math.max(0, ...names.map(({ generation }) => generation));
  }

  /** Looks again for those that did not answer. @returns the ones that do now */
  async adoptMissed(): Promise<WorkerProcess[]> {
    const found = await Promise.all([...this.#missed.values()].map(({ name }) => this.#adopt(name)));
    const { directory, log, clock } = this.#options;
    for (const { name, sinceMs } of this.#missed.values()) {
      if (clock.monotonicMs() - sinceMs < HUNG_MS) continue;
      log.error('a worker does not answer any more and is killed', { ...name });
      await killWorker(directory, name);
    }
    return found.filter((worker) => worker !== undefined);
  }

  /** One whose connection was lost: adopted when it lives. */
  async adoptLost(name: WorkerName): Promise<WorkerProcess | undefined> {
    this.#miss(name);
    await waitLost();
    // Somebody else has looked meanwhile, and knows.
    if (!this.#missed.has(socketName(name))) return undefined;
    return this.#adopt(name, true);
  }

  /** For a stop: those that do not answer are not waited for. */
  async killMissed(): Promise<void> {
    const { directory } = this.#options;
    await Promise.all([...this.#missed.values()].map(({ name }) => killWorker(directory, name)));
  }

  #miss(name: WorkerName): void {
    const key = socketName(name);
    if (!this.#missed.has(key)) this.#missed.set(key, { name, sinceMs: this.#options.clock.monotonicMs() });
  }

  #adopt(name: WorkerName, isAgain = false): Promise<WorkerProcess | undefined> {
    const key = socketName(name);
    const adopting = this.#adopting.get(key) ?? this.#look(name, isAgain).finally(() => this.#adopting.delete(key));
    this.#adopting.set(key, adopting);
    return adopting;
  }

  /** One that lives but does not answer now is looked for again later; only of a dead one the socket is removed. */
  async #look(name: WorkerName, isAgain: boolean): Promise<WorkerProcess | undefined> {
    const { directory, log, ledger, state } = this.#options;
    const key = socketName(name);
    try {
      const worker = await WorkerProcess.adopt(name, directory);
      this.#missed.delete(key);
      this.add(worker);
      await worker.update(state);
      return worker;
    } catch (error) {
      if (isNobodyThere(error)) {
        this.#missed.delete(key);
        removeSocket(directory, name);
        ledger.settle(basename(key, '.sock'));
        log.debug('a worker is gone', { ...name });
      } else if (isConnectionLost(error) && !isAgain) {
        // Most often it was just ending.
        await waitLost();
        return this.#look(name, true);
      } else {
        this.#miss(name);
        log.warning('a worker does not answer and is looked for again', { ...name, err: error });
      }
      return undefined;
    }
  }
}

/** A process that has been killed, or ends, is gone a moment after its connections are. */
function waitLost(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOST_WAIT_MS));
}
