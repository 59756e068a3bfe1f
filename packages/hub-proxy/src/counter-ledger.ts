import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { list, object, optional, type Shaped, text, tolerant } from '@metalhub/base/shape.js';
import { ActivityLedger } from './activity-ledger.js';
import { routeActivityShape } from './generation-protocol.js';
import { addCounters, type Counters, countersShape } from './metrics-counters.js';
import { MAX_ROUTES } from './proxy-state.js';
import { readRunFile, removeRunFile, writeRunFile } from './run-file.js';

/** What {@link CounterLedger} keeps over a restart of the supervisor. */
const LEDGER_FILE = 'counters.json';
/** A worker's last word: what it had counted, and when routes were used, at its end. */
const FINAL_NAME = /^([1-9][0-9.]{0,30})\.counters$/;
/** More than may live at once; of more that ended without a last word the oldest are added up. */
const MAX_LAST_KNOWN = 128;
const MAX_FINISHED = 1000;

const idShape = text({ pattern: /^[0-9]{1,16}(?:\.[0-9]{1,16}){2}$/, max: 60 });
const ledgerShape = object({
  own: countersShape,
  sum: countersShape,
  finished: list(idShape, MAX_FINISHED),
  last_known: list(object({ id: idShape, counters: countersShape }), MAX_LAST_KNOWN),
});
const finalShape = tolerant(
  object({
    id: idShape,
    counters: countersShape,
    /** Workers of earlier versions did not say. */
    activity: optional(list(routeActivityShape, MAX_ROUTES + 1)),
  }),
);

/** Part of a worker's report. Numbers of generations begin anew when none is left, so the start belongs to the name. */
export interface Counted {
  readonly generation: number;
  readonly pid: number;
  readonly started_ms: number;
  readonly counters?: Counters;
  readonly activity?: readonly Shaped<typeof routeActivityShape>[];
}

/**
 * Adds up what generations have counted, of those that have ended, too: what Prometheus reads must not go back because a
 * worker ends. It outlives the supervisor in a file below /run. Metrics are never a reason to fail: without the file
 * counting begins anew, which Prometheus takes for what it is.
 */
export class CounterLedger {
  readonly #directory: string;
  readonly #generationDirectory: string;
  readonly activity: ActivityLedger;
  /** Counts of the supervisor's own. */
  readonly #own = new Map<string, number>();
  #sum: Counters = {};
  /** In the sum: a crash between adding and removing a file must not add it twice. */
  #finished = new Set<string>();
  /** Of living generations, and of those that ended without a last word. */
  #lastKnown = new Map<string, Counters>();

  /** @param generationDirectory where the generations' sockets are; ours is beside it */
  constructor(generationDirectory: string) {
    this.#directory = countersDirectory(generationDirectory);
    this.#generationDirectory = generationDirectory;
    this.activity = new ActivityLedger(this.#directory);
  }

  /** Takes up what an earlier supervisor left, and the last words of workers that ended without one. */
  load(): void {
    makeDirectory(this.#directory);
    this.activity.load();
    const stored = readRunFile(join(this.#directory, LEDGER_FILE), ledgerShape);
    if (stored !== undefined) {
      for (const [name, count] of Object.entries(stored.own)) this.count(name, count);
      this.#sum = stored.sum;
      this.#finished = new Set(stored.finished);
      this.#lastKnown = new Map(stored.last_known.map(({ id, counters }) => [id, counters]));
    }
    for (const worker of finalsIn(this.#directory)) {
      // Of one whose socket is left the end will be noticed yet.
      if (!existsSync(join(this.#generationDirectory, `${worker}.sock`))) this.settle(worker);
    }
  }

  /** What living generations report. */
  note(reports: readonly Counted[]): void {
    for (const report of reports) this.#keep({ id: idOf(report), ...report });
    // Whoever ended a moment ago did not report, and nobody has looked after it yet: nothing it counted may be missing.
    for (const worker of finalsIn(this.#directory)) {
      const last = this.#lastWord(worker);
      if (last !== undefined) this.#keep(last);
    }
  }

  #keep({ id, counters, activity }: { id: string } & Pick<Counted, 'counters' | 'activity'>): void {
    if (counters !== undefined && !this.#finished.has(id)) this.#lastKnown.set(id, counters);
    this.activity.note(activity ?? []);
  }

  #lastWord(worker: string): Shaped<typeof finalShape> | undefined {
    return readRunFile(this.#finalPath(worker), finalShape);
  }

  #finalPath(worker: string): string {
    return join(this.#directory, `${worker}.counters`);
  }

  /**
   * A worker has ended. Without a last word what it reported before goes on counting.
   * @param worker the name of its socket without `.sock`
   */
  settle(worker: string): void {
    const last = this.#lastWord(worker);
    if (last !== undefined) this.#finish(last.id, last.counters);
    this.activity.note(last?.activity ?? []);
    this.count(`generations_ended|${last === undefined ? 'lost' : 'drained'}`);
    this.save();
    removeRunFile(this.#finalPath(worker));
  }

  count(name: string, by = 1): void {
    this.#own.set(name, (this.#own.get(name) ?? 0) + by);
  }

  total(): Counters {
    return addCounters([Object.fromEntries(this.#own), this.#sum, ...this.#lastKnown.values()]);
  }

  /** By itself it is saved only when a generation ends. */
  save(): void {
    const surplus = [...this.#lastKnown].slice(0, -MAX_LAST_KNOWN);
    for (const [id, counters] of surplus) this.#finish(id, counters);
    this.activity.save();
    writeRunFile(join(this.#directory, LEDGER_FILE), {
      own: Object.fromEntries(this.#own),
      sum: this.#sum,
      finished: [...this.#finished].slice(-MAX_FINISHED),
      last_known: [...this.#lastKnown].map(([id, counters]) => ({ id, counters })),
    });
  }

  #finish(id: string, counters: Counters): void {
    this.#lastKnown.delete(id);
    if (this.#finished.has(id)) return;
    this.#finished.add(id);
    this.#sum = addCounters([this.#sum, counters]);
  }
}

function idOf({ generation, pid, started_ms }: Counted): string {
  return `${generation}.${started_ms}.${pid}`;
}

/** A worker's last word. @param socketPath the worker's own socket */
export function writeFinalCounters(socketPath: string, report: Counted): void {
  const path = join(countersDirectory(dirname(socketPath)), `${basename(socketPath, '.sock')}.counters`);
  const { counters = {}, activity = [] } = report;
  writeRunFile(path, { id: idOf(report), counters, activity });
}

function countersDirectory(generationDirectory: string): string {
  return join(dirname(generationDirectory), 'counters');
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch {
    // Then nothing is kept.
  }
}

function finalsIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .map((name) => FINAL_NAME.exec(name)?.[1])
      .filter((worker) => worker !== undefined);
  } catch {
    return [];
  }
}
