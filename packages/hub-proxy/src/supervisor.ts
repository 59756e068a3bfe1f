import { mkdirSync, readdirSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import { CounterLedger } from './counter-ledger.js';
import { Generation } from './generation.js';
import { formatFilePath, type WorkerReport } from './generation-protocol.js';
import type { ProxyState } from './proxy-state.js';
import type { Settings } from './settings.js';

const WATCH_MS = 15 * SECOND_MS;
const RESTART_DELAY_MS = SECOND_MS;
const QUICK_DEATH_MS = 10 * SECOND_MS;
const SURPLUS_END_MS = 10 * SECOND_MS;
const STOP_SPREAD_MS = 8 * SECOND_MS;
const STOP_WAIT_MS = 18 * SECOND_MS;

export interface SupervisorOptions {
  readonly workerProgram: string;
  readonly generationDirectory: string;
  readonly listenFds: readonly number[];
  readonly clock: Clock;
  readonly log: Log;
  readonly getState: () => ProxyState;
}

export interface SupervisorLimits {
  readonly settings: Settings;
  /** Workers that may live at once, the newest included. */
  readonly maxGenerations: number;
}

/** Keeps one worker accepting and looks after those of earlier times until they have ended. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  /** What all generations have counted, for `/metrics`. */
  readonly ledger: CounterLedger;
  #limits: SupervisorLimits;
  #current: Generation | undefined;
  readonly #old = new Map<number, Generation>();
  #nextNumber = 1;
  /** Numbers of generations that may live, but are not connected. */
  readonly #missed = new Set<number>();
  #isLeaving = false;
  #lastPush: Promise<void> = Promise.resolve();
  #nextPush: Promise<void> | undefined;
  #watch: NodeJS.Timeout | undefined;
  #lastReports: Promise<unknown> = Promise.resolve();
  #nextReports: Promise<WorkerReport[]> | undefined;
  /** Newest times seen per route, of generations that are gone too. */
  readonly #activity = new Map<string, number>();

  constructor(options: SupervisorOptions, limits: SupervisorLimits) {
    this.#options = options;
    this.ledger = new CounterLedger(options.generationDirectory);
    this.#limits = limits;
  }

  /** Resolves when a worker accepts. @throws {MetalhubError} none could be started */
  async start(): Promise<void> {
    mkdirSync(this.#options.generationDirectory, { recursive: true, mode: 0o700 });
    this.ledger.load();
    await this.#adoptAll();
    await this.#startGeneration();
    this.#watch = setInterval(() => void this.#look(), WATCH_MS);
    this.#watch.unref();
    void this.#look();
  }

  /** A new worker with new settings; the one that served so far drains. */
  async replace(limits: SupervisorLimits): Promise<void> {
    this.#limits = limits;
    await this.#startGeneration();
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

  /** A generation that hangs is left to the watch. */
  async #pushNow(): Promise<void> {
    const state = this.#options.getState();
    const pushed = this.#all().map(async (generation) => {
      try {
        await generation.setState(state);
      } catch (error) {
        this.#options.log.warning('a generation did not take the new state', {
          generation: generation.number,
          err: error,
        });
      }
    });
    await Promise.all(pushed);
  }

  /**
   * What every living generation says of itself, newest first. Who asks while others are being answered gets the same
   * next answer: a flooded route API must not become a flood of questions to the workers.
   */
  reports(): Promise<WorkerReport[]> {
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

  async #askAll(): Promise<WorkerReport[]> {
    const reports = await Promise.all(this.#all().map((generation) => generation.report().catch(() => undefined)));
    const living = reports.filter((report) => report !== undefined);
    for (const report of living) this.ledger.note(report);
    for (const { prefix, last_ms } of living.flatMap(({ activity }) => activity)) {
      this.#activity.set(prefix, Math.max(last_ms, this.#activity.get(prefix) ?? 0));
    }
    return living;
  }

  /** Newest known activity of a route in milliseconds since the epoch; ask for {@link reports} first. */
  findActivity(prefix: string): number | undefined {
    return this.#activity.get(prefix);
  }

  forgetActivity(prefix: string): void {
    this.#activity.delete(prefix);
  }

  /** From now on workers are not replaced; the one that accepts goes on until the next supervisor's does. */
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

  /** Ends every generation: WebSockets with 1001, and what is left at the end by force. */
  async endAll(): Promise<void> {
    this.#isLeaving = true;
    clearInterval(this.#watch);
    const all = this.#all();
    const ended = Promise.all(
      all.map(async (generation) => {
        await generation.end(STOP_SPREAD_MS).catch(() => generation.kill());
        await generation.gone;
      }),
    );
    await Promise.race([ended, waitMs(STOP_WAIT_MS)]);
    for (const generation of all) if (this.#isKnown(generation)) generation.kill();
  }

  #all(): Generation[] {
    const old = [...this.#old.values()].sort((a, b) => b.number - a.number);
    return this.#current === undefined ? old : [this.#current, ...old];
  }

  #isKnown(generation: Generation): boolean {
    return this.#current === generation || this.#old.get(generation.number) === generation;
  }

  async #adoptAll(): Promise<void> {
    const { generationDirectory: directory, log } = this.#options;
    const numbers = readdirSync(directory)
      .map((name) => Number(/^([1-9][0-9]{0,14})\.sock$/.exec(name)?.[1]))
      .filter((number) => Number.isSafeInteger(number));
    this.#nextNumber = Math.max(0, ...numbers) + 1;
    await Promise.all(numbers.map((number) => this.#adopt(number)));
    if (this.#old.size > 0)
      log.info('earlier generations go on until their connections end', { count: this.#old.size });
  }

  /** A generation that lives but does not answer now is looked for again later; only of a dead one the socket is removed. */
  async #adopt(number: number): Promise<Generation | undefined> {
    const { generationDirectory, log, getState } = this.#options;
    const path = join(generationDirectory, `${number}.sock`);
    try {
      const generation = await Generation.adopt(number, path);
      this.#missed.delete(number);
      this.#addOld(generation);
      await generation.setState(getState());
      return generation;
    } catch (error) {
      if (isNobodyThere(error)) {
        this.#missed.delete(number);
        removeSocket(path);
        log.debug('a generation is gone', { generation: number });
      } else {
        this.#missed.add(number);
        log.warning('a generation does not answer and is looked for again', { generation: number, err: error });
      }
      return undefined;
    }
  }

  /** Looks again for generations that did not answer, or whose connection was lost. */
  async adoptMissed(): Promise<void> {
    if (this.#isLeaving) return;
    const found = await Promise.all([...this.#missed].map((number) => this.#adopt(number)));
    await this.#drain(found.filter((generation) => generation !== undefined));
  }

  #addOld(generation: Generation): void {
    this.#old.set(generation.number, generation);
    void generation.gone.then(() => {
      this.#old.delete(generation.number);
      this.ledger.settle(generation.number);
      // Most often it has ended; it may also have been too slow to answer.
      this.#missed.add(generation.number);
    });
  }

  async #startGeneration(): Promise<void> {
    const { workerProgram: program, listenFds, getState, generationDirectory, clock, log } = this.#options;
    const number = this.#nextNumber++;
    const socketPath = join(generationDirectory, `${number}.sock`);
    const { settings } = this.#limits;
    const generation = await Generation.start({ number, program, socketPath, listenFds, settings, state: getState() });
    const before = this.#current;
    this.#current = generation;
    const startedMs = clock.monotonicMs();
    void generation.gone.then(() => {
      if (this.#current === generation) this.#onCurrentGone(generation, socketPath, clock.monotonicMs() - startedMs);
    });
    // It may have changed while the worker started.
    await generation.setState(getState());
    log.info('a new generation accepts connections', { generation: number });
    this.ledger.count('generations_started');
    if (before !== undefined) this.#addOld(before);
    // Only now: until the new worker accepted, an old one did.
    await this.#drain([...this.#old.values()]);
  }

  async #drain(generations: readonly Generation[]): Promise<void> {
    const timeoutMs = this.#limits.settings.drain_timeout_ms;
    await Promise.all(
      generations.map((generation) =>
        generation.drain(timeoutMs).catch((error: unknown) => {
          this.#options.log.warning('a generation could not be told to drain', {
            generation: generation.number,
            err: error,
          });
        }),
      ),
    );
  }

  /** The worker that accepted is gone: connections wait in the backlog until there is a new one. */
  #onCurrentGone(generation: Generation, socketPath: string, livedMs: number): void {
    this.#current = undefined;
    this.ledger.settle(generation.number);
    if (this.#isLeaving) return;
    // What is gone is the connection to it. One that hangs would, when it goes on, accept with old routes and revocations.
    generation.kill();
    removeSocket(socketPath);
    this.#options.log.error('the worker ended unexpectedly and is replaced', { livedMs: Math.floor(livedMs) });
    const delayMs = livedMs < QUICK_DEATH_MS ? RESTART_DELAY_MS : 0;
    setTimeout(() => void this.#restart(), delayMs);
  }

  async #restart(): Promise<void> {
    if (this.#isLeaving || this.#current !== undefined) return;
    try {
      await this.#startGeneration();
    } catch (error) {
      this.#options.log.critical('no worker could be started', { err: error });
      setTimeout(() => void this.#restart(), RESTART_DELAY_MS);
    }
  }

  /** Collects activity, which loses the connection to whoever hangs; looks for those that were lost, ends surplus generations. */
  async #look(): Promise<void> {
    await this.reports();
    await this.adoptMissed();
    await this.endSurplus();
  }

  /** Ends the old generations that are too many, those with the fewest connections first. */
  async endSurplus(): Promise<void> {
    const reports = await this.reports();
    const surplus = reports.length - this.#limits.maxGenerations;
    const ending = reports
      .filter(({ generation }) => this.#old.has(generation))
      .sort((a, b) => a.connections - b.connections)
      .slice(0, Math.max(0, surplus));
    for (const { generation, connections } of ending) {
      this.#options.log.notice('too many generations: one ends before its time', { generation, connections });
      this.ledger.count('generations_surplus');
      await this.#old
        .get(generation)
        ?.end(SURPLUS_END_MS)
        .catch(() => undefined);
    }
  }
}

function waitMs(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds).unref();
  });
}

/** Whether the socket's owner has ended: only then nobody listens. */
function isNobodyThere(error: unknown): boolean {
  const code = error instanceof Error ? systemErrorCode(error.cause) : undefined;
  return code === 'ECONNREFUSED' || code === 'ENOENT';
}

function removeSocket(path: string): void {
  try {
    rmSync(formatFilePath(path), { force: true });
    unlinkSync(path);
  } catch {
    // The worker removed it itself.
  }
}
