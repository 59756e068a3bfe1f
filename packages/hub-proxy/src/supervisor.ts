import { mkdirSync } from 'node:fs';
import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import { CounterLedger } from './counter-ledger.js';
import type { PlacedReport, WorkerReport } from './generation-protocol.js';
import { OldWorkers } from './old-workers.js';
import { RestartDelay } from './restart-delay.js';
import type { Settings } from './settings.js';
import { findSurplus, type GenerationLimits, type GenerationLoad } from './surplus.js';
import type { WorkerName } from './worker-name.js';
import { isConnectionLost, killWorker, type StateSource, WorkerProcess } from './worker-process.js';

const WATCH_MS = 5 * SECOND_MS;
const SURPLUS_END_MS = 10 * SECOND_MS;
const STOP_SPREAD_MS = 8 * SECOND_MS;
const STOP_WAIT_MS = 18 * SECOND_MS;

export interface SupervisorOptions {
  readonly workerProgram: string;
  readonly generationDirectory: string;
  readonly listenFds: readonly number[];
  readonly clock: Clock;
  readonly log: Log;
  readonly state: StateSource;
}

export interface SupervisorLimits extends GenerationLimits {
  readonly settings: Settings;
  /** Workers of a generation, which share the listening sockets. */
  readonly workers: number;
}

/** The workers that accept. One that dies is replaced within its generation. */
interface Accepting {
  readonly generation: number;
  readonly limits: SupervisorLimits;
  readonly workers: Set<WorkerProcess>;
  /** Of workers that are being started. */
  starting: number;
  nextIndex: number;
}

/** Keeps one generation of workers accepting and looks after those of earlier times until they have ended. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  /** What all generations have counted, for `/metrics`, and when they last used each route. */
  readonly ledger: CounterLedger;
  readonly #old: OldWorkers;
  readonly #delay = new RestartDelay();
  #limits: SupervisorLimits;
  #current: Accepting | undefined;
  /** It is being started: some of its workers accept already, and must know what those of the current one do. */
  #next: Accepting | undefined;
  #nextGeneration = 1;
  #isLeaving = false;
  #lastPush: Promise<void> = Promise.resolve();
  #nextPush: Promise<void> | undefined;
  #watch: NodeJS.Timeout | undefined;
  #isLooking = false;
  #lastReports: Promise<unknown> = Promise.resolve();
  #nextReports: Promise<PlacedReport[]> | undefined;
  /** Generations that were told to end. */
  readonly #ending = new Set<number>();

  constructor(options: SupervisorOptions, limits: SupervisorLimits) {
    this.#options = options;
    this.#limits = limits;
    this.ledger = new CounterLedger(options.generationDirectory);
    this.#old = new OldWorkers({ ...options, directory: options.generationDirectory, ledger: this.ledger });
  }

  /** Takes charge of the workers that an earlier supervisor left; first of all, and once. */
  async adopt(): Promise<void> {
    mkdirSync(this.#options.generationDirectory, { recursive: true, mode: 0o700 });
    this.ledger.load();
    this.#nextGeneration = (await this.#old.adoptAll()) + 1;
  }

  /** Whether some worker accepts connections: before {@link start}, one that an earlier supervisor left when it crashed. */
  async isServed(): Promise<boolean> {
    return (await this.reports()).some(({ draining }) => !draining);
  }

  /** Resolves when workers of ours accept. @throws {MetalhubError} they could not be started */
  async start(): Promise<void> {
    await this.#startGeneration(this.#limits);
    this.#watch = setInterval(() => void this.#look(), WATCH_MS);
    this.#watch.unref();
    void this.#look();
  }

  /** New workers with new settings; those that served so far drain. @throws {MetalhubError} they go on serving */
  async replace(limits: SupervisorLimits): Promise<void> {
    await this.#startGeneration(limits);
  }

  /**
   * Sends the state to all; resolves when what it no longer allows is closed. Changes that come while one is being sent
   * go together in the next.
   */
  pushState(): Promise<void> {
    if (this.#nextPush === undefined) {
      this.#nextPush = this.#lastPush.then(() => {
        this.#nextPush = undefined;
        return this.#pushNow();
      });
      this.#lastPush = this.#nextPush;
    }
    return this.#nextPush;
  }

  /** Resolves when every change that was pushed so far has arrived. */
  pushed(): Promise<void> {
    return this.#lastPush;
  }

  /** A worker that hangs gets the state when it is adopted again. */
  async #pushNow(): Promise<void> {
    const { state } = this.#options;
    await this.#tellAll(this.#all(), 'a worker did not take the new state', (worker) => worker.update(state));
  }

  /**
   * What every living worker says of itself, the newest generation first. Who asks while others are being answered gets the
   * same next answer: a flooded route API must not become a flood of questions to the workers.
   */
  reports(): Promise<PlacedReport[]> {
    if (this.#nextReports === undefined) {
      const next = this.#lastReports.then(() => {
        this.#nextReports = undefined;
        return this.#askAll();
      });
      this.#nextReports = next;
      this.#lastReports = next.catch(() => undefined);
    }
    return this.#nextReports;
  }

  async #askAll(): Promise<PlacedReport[]> {
    const { state } = this.#options;
    const reports = await Promise.all(this.#all().map((worker) => worker.report().catch(() => undefined)));
    const living = reports.filter((report) => report !== undefined);
    this.ledger.note(living);
    // A worker that was asked before a route was removed still knew it.
    const hubPrefix = `${this.#limits.settings.base_path ?? ''}/`;
    this.ledger.activity.keepOnly((key) => key === hubPrefix || state.hasRoute(key));
    return living;
  }

  /** Newest known activity of a route in milliseconds since the epoch; ask for {@link reports} first. */
  findActivity(key: string): number | undefined {
    return this.ledger.activity.find(key);
  }

  /** A new route counts as just used. */
  noteActivity(key: string, nowMs: number): void {
    this.ledger.activity.note([{ prefix: key, last_ms: Math.floor(nowMs) }]);
  }

  forgetActivity(key: string): void {
    this.ledger.activity.forget(key);
  }

  /** From now on workers are not replaced; those that accept go on until the next supervisor's do. */
  leave(): void {
    this.#isLeaving = true;
    this.ledger.save();
    clearInterval(this.#watch);
  }

  /** Like {@link leave}, but nobody accepts any more: the listening sockets are about to be replaced by others. */
  async drainAll(): Promise<void> {
    this.leave();
    await this.#drain(this.#all());
  }

  /** Ends every generation: WebSockets with 1001, and what is left at the end, or does not answer, by force. */
  async endAll(): Promise<void> {
    this.leave();
    const left = new Set(this.#all());
    const ended = [...left].map(async (worker) => {
      await worker.end(STOP_SPREAD_MS).catch(() => this.#kill(worker.name));
      await worker.gone;
      left.delete(worker);
    });
    await Promise.race([Promise.all([...ended, this.#old.killMissed()]), waitMs(STOP_WAIT_MS)]);
    await Promise.all([...left].map(({ name }) => this.#kill(name)));
  }

  #all(): WorkerProcess[] {
    return [...(this.#next?.workers ?? []), ...(this.#current?.workers ?? []), ...this.#old.list()];
  }

  #kill(name: WorkerName): Promise<void> {
    return killWorker(this.#options.generationDirectory, name);
  }

  async #startGeneration(limits: SupervisorLimits): Promise<void> {
    const next: Accepting = {
      generation: this.#nextGeneration++,
      limits,
      workers: new Set(),
      starting: 0,
      nextIndex: 0,
    };
    this.#next = next;
    const starts = Array.from({ length: limits.workers }, () => this.#startWorker(next));
    const failed = (await Promise.allSettled(starts)).find(({ status }) => status === 'rejected');
    this.#next = undefined;
    if (failed?.status === 'rejected' || next.workers.size === 0) {
      // Until they have ended they are looked after like all others.
      for (const worker of next.workers) this.#old.add(worker);
      await this.#tellAll([...next.workers], 'a worker did not end', (worker) => worker.end(0));
      throw failed?.status === 'rejected' ? failed.reason : noneLeft();
    }
    const before = this.#current;
    this.#current = next;
    this.#limits = limits;
    this.#options.log.info('a new generation accepts connections', {
      generation: next.generation,
      workers: next.workers.size,
    });
    // Those that died while others were being started.
    for (let count = next.workers.size; count < limits.workers; count++) this.#replaceLater(next, 0);
    for (const worker of before?.workers ?? []) this.#old.add(worker);
    // Only now: until the new ones accepted, old ones did.
    await this.#drain(this.#old.list());
  }

  /** Resolves when it accepts, and has what changed while it started. @throws {MetalhubError} it could not be started */
  async #startWorker(accepting: Accepting): Promise<void> {
    const { workerProgram: program, listenFds, state, generationDirectory: directory, clock } = this.#options;
    const name = { generation: accepting.generation, index: accepting.nextIndex++ };
    const { settings } = accepting.limits;
    const started = { name, program, directory, listenFds, settings, state: state.snapshot() };
    accepting.starting++;
    const worker = await WorkerProcess.start(started).finally(() => accepting.starting--);
    this.ledger.count('generations_started');
    accepting.workers.add(worker);
    const startedMs = clock.monotonicMs();
    void worker.gone.then(() => {
      accepting.workers.delete(worker);
      if (this.#isWanted(accepting)) this.#onWorkerGone(accepting, name, clock.monotonicMs() - startedMs);
    });
    // A reload may have come while the worker started: it is not of the newest any more.
    const isLate = !this.#isWanted(accepting);
    if (isLate) this.#old.add(worker);
    // One that does not take the state is gone, and replaced as such.
    await this.pushState();
    if (isLate) await this.#drain([worker]);
  }

  #isWanted(accepting: Accepting): boolean {
    return accepting === this.#current || accepting === this.#next;
  }

  /** One of those that accept is gone, or hangs: while there is no other, connections wait in the backlog. */
  #onWorkerGone(accepting: Accepting, name: WorkerName, livedMs: number): void {
    if (this.#isLeaving) return;
    this.#options.log.error('a worker ended or hangs, and is replaced', { ...name, livedMs: Math.floor(livedMs) });
    this.#replaceLater(accepting, this.#delay.nextMs(livedMs));
    void this.#old.adoptLost(name).then((worker) => this.#drain(worker === undefined ? [] : [worker]));
  }

  #replaceLater(accepting: Accepting, delayMs: number): void {
    setTimeout(() => void this.#replaceNow(accepting), delayMs);
  }

  async #replaceNow(accepting: Accepting): Promise<void> {
    if (this.#isLeaving || this.#current !== accepting) return;
    if (accepting.workers.size + accepting.starting >= accepting.limits.workers) return;
    try {
      await this.#startWorker(accepting);
    } catch (error) {
      this.#options.log.critical('no worker could be started', { err: error });
      this.#replaceLater(accepting, this.#delay.nextMs(0));
    }
  }

  #drain(workers: readonly WorkerProcess[]): Promise<void> {
    const timeoutMs = this.#limits.settings.drain_timeout_ms;
    return this.#tellAll(workers, 'a worker could not be told to drain', (worker) => worker.drain(timeoutMs));
  }

  /** A worker that fails keeps nobody from telling the others. */
  async #tellAll(
    workers: readonly WorkerProcess[],
    complaint: string,
    tell: (worker: WorkerProcess) => Promise<void>,
  ): Promise<void> {
    const told = workers.map((worker) =>
      tell(worker).catch((error: unknown) => {
        // One that has ended meanwhile need not be told.
        const level = isConnectionLost(error) ? 'debug' : 'warning';
        this.#options.log[level](complaint, { ...worker.name, err: error });
      }),
    );
    await Promise.all(told);
  }

  /** Collects activity, finds workers that hang, looks again for those that did, ends surplus generations. */
  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      await this.adoptMissed();
      await this.endSurplus();
    } finally {
      this.#isLooking = false;
    }
  }

  /** Looks again for workers that did not answer, or whose connection was lost. */
  async adoptMissed(): Promise<void> {
    if (!this.#isLeaving) await this.#drain(await this.#old.adoptMissed());
  }

  /** Ends the earlier generations that are too many, or that use too much memory together. */
  async endSurplus(): Promise<void> {
    const loads = sumByGeneration(await this.reports());
    for (const generation of this.#ending) if (!loads.has(generation)) this.#ending.delete(generation);
    const newest = this.#current?.generation ?? 0;
    // A later one is just being started.
    const earlier = [...loads.values()].filter(
      ({ generation }) => generation < newest && !this.#ending.has(generation),
    );
    for (const load of findSurplus(loads.get(newest), earlier, this.#limits)) {
      this.#options.log.notice('too many generations: one ends before its time', { ...load });
      this.ledger.count('generations_surplus');
      this.#ending.add(load.generation);
      const workers = this.#old.list().filter(({ name }) => name.generation === load.generation);
      await this.#tellAll(workers, 'a worker could not be told to end', (worker) => worker.end(SURPLUS_END_MS));
    }
  }
}

function noneLeft(): MetalhubError {
  return new MetalhubError('MH_ERR_WIRE_CLOSED', { details: { peer: 'hub-proxy worker' } });
}

function sumByGeneration(reports: readonly WorkerReport[]): Map<number, GenerationLoad> {
  const loads = new Map<number, GenerationLoad>();
  for (const { generation, connections, memory_bytes = 0 } of reports) {
    const before = loads.get(generation) ?? { generation, connections: 0, memoryBytes: 0 };
    const sum = { connections: before.connections + connections, memoryBytes: before.memoryBytes + memory_bytes };
    loads.set(generation, { generation, ...sum });
  }
  return loads;
}

function waitMs(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}
