import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { ShapeError } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { MAX_CHANGES } from './generation-protocol.js';
import { LiveState } from './live-state.js';
import { type Delta, EMPTY_STATE, type ProxyState } from './proxy-state.js';
import type { Change } from './state-changes.js';
import { formatStored, parseStored } from './state-format.js';
import { formatLine, JournalFile, readJournal } from './state-journal.js';

const STATE_MODE = 0o600;
/** The whole state is written anew when the journal has grown to this and to the size of the state. */
const MIN_COMPACT_BYTES = 256 * 1024;

/** Whether somebody may do more after a change, or less. */
export type ChangeKind = 'allow' | 'take away';

interface Waiting {
  readonly make: (state: LiveState) => Change | undefined;
  readonly kind: ChangeKind;
  readonly resolve: (isChanged: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The proxy's state on the disk: `state.json`, written whole now and then, and beside it `state.journal` with what changed
 * since. Only one supervisor at a time has them.
 *
 * Changes that come while others are being written share one write.
 */
export class StateStore {
  readonly #path: string;
  readonly #live: LiveState;
  readonly #journal: JournalFile;
  #stateBytes: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #recent: Delta[] = [];
  /** The journal cannot go on: a version was skipped. */
  #mustCompact = false;
  /** False when something was taken away that is not on the disk. */
  #isStored = true;

  private constructor(path: string, state: LiveState, journal: JournalFile, stateBytes: number) {
    this.#path = path;
    this.#live = state;
    this.#journal = journal;
    this.#stateBytes = stateBytes;
  }

  /**
   * Reads the files; damaged ones are set aside, and the table is empty until the hub fills it again. Versions go on above
   * the time in milliseconds: an earlier supervisor may have given numbers away that the disk knows nothing of.
   */
  static open(path: string, log: Log, nowMs = Date.now()): StateStore {
    const store = StateStore.#read(path, log);
    store.outrun(Math.floor(nowMs) - 1);
    return store;
  }

  static #read(path: string, log: Log): StateStore {
    const journalPath = path.replace(/(?:\.json)?$/, '.journal');
    try {
      const text = readIfThere(path)?.toString('utf8');
      const live = new LiveState(text === undefined ? EMPTY_STATE : parseStored(text));
      const bytes = readIfThere(journalPath) ?? Buffer.alloc(0);
      const { deltas, tornBytes } = readJournal(bytes);
      replay(live, deltas);
      if (tornBytes > 0) log.warning('a change of the routes was cut off while it was written', { file: journalPath });
      return new StateStore(path, live, new JournalFile(journalPath, bytes.length - tornBytes), text?.length ?? 0);
    } catch (error) {
      if (!(error instanceof ShapeError) && !(error instanceof SyntaxError)) throw error;
      log.error('the stored routes were damaged; the hub has to send them again', {
        file: path,
        aside: setAside([path, journalPath]).join(' '),
        reason: error.message,
      });
      return new StateStore(path, new LiveState(EMPTY_STATE), new JournalFile(journalPath, 0), 0);
    }
  }

  /** To be looked at only; it may hold changes that are just being written. */
  get live(): LiveState {
    return this.#live;
  }

  /** With no more revocations than there may be. */
  snapshot(): ProxyState {
    this.#live.forget(Date.now() / SECOND_MS);
    return this.#live.snapshot();
  }

  /** What changed after a version, oldest first; `undefined` when that is too long ago. */
  changesSince(version: number): readonly Delta[] | undefined {
    if (version === this.#live.version) return [];
    // Most often there is no gap, and its place is known: to look for it took a quarter of the time of 10,000 changes in a row.
    const at = version + 1 - (this.#recent[0]?.version ?? 0);
    const isTooLong = this.#recent.length - at > MAX_CHANGES;
    return this.#recent[at]?.version !== version + 1 || isTooLong ? undefined : this.#recent.slice(at);
  }

  /** @param key of a route; that of the one to our hub is never stored */
  hasRoute(key: string): boolean {
    return this.#live.findRoute(key) !== undefined;
  }

  /** @param version that a worker, or whoever asked for a list, may have seen: ours is not older afterwards */
  outrun(version: number): void {
    if (version <= this.#live.version) return;
    this.#live.skipTo(version + 1);
    this.#recent = [];
    this.#mustCompact = true;
  }

  /**
   * Changes the state, one change after the other. What allows something counts only once it is on the disk; what takes
   * something away counts at once, and is stored with the next change, or when it is asked for again.
   *
   * @param make says what to change, `undefined` for nothing; called soon, and again when it counts although not stored
   * @returns whether anything changed
   * @throws {MH_ERR_PROXY_STATE} and nothing has changed, unless it takes away; or what `make` throws
   */
  update(make: (state: LiveState) => Change | undefined, kind: ChangeKind = 'allow'): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ make, kind, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#journal.close();
  }

  async #writeAll(): Promise<void> {
    // Whatever comes in this turn goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#write(batch);
    }
    this.#writing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const done: { waiting: Waiting; delta: Delta | undefined }[] = [];
    const undo: (() => void)[] = [];
    for (const waiting of batch) {
      try {
        const delta = this.#deltaOf(waiting.make(this.#live));
        if (delta !== undefined) undo.push(this.#live.apply(delta));
        done.push({ waiting, delta });
      } catch (error) {
        waiting.reject(error);
      }
    }
    const deltas = done.flatMap(({ delta }) => (delta === undefined ? [] : [delta]));
    try {
      await this.#store(deltas);
    } catch (cause) {
      for (const takeBack of undo.reverse()) takeBack();
      this.#live.skipTo(this.#live.version + 1);
      this.#recent = [];
      this.#mustCompact = true;
      for (const { waiting } of done) waiting.reject(this.#takeAway(waiting) ?? this.#notStored(cause));
      return;
    }
    // The version jumped while they were written: behind them would be a gap, and no place known.
    if (deltas.length > 0 && this.#live.version !== deltas.at(-1)?.version) this.#recent = [];
    else this.#recent.push(...deltas);
    // Now and then: it is moved as a whole.
    if (this.#recent.length > 2 * MAX_CHANGES) this.#recent = this.#recent.slice(-MAX_CHANGES);
    for (const { waiting, delta } of done) waiting.resolve(delta !== undefined);
  }

  #deltaOf(change: Change | undefined): Delta | undefined {
    return change && { ...NO_CHANGE, ...change, version: this.#live.version + 1 };
  }

  /** Without the disk, if it takes something away. @returns why it cannot be made any more */
  #takeAway({ make, kind }: Waiting): unknown {
    if (kind !== 'take away') return undefined;
    try {
      const delta = this.#deltaOf(make(this.#live));
      if (delta === undefined) return undefined;
      this.#live.apply(delta);
      this.#isStored = false;
      return undefined;
    } catch (error) {
      return error;
    }
  }

  async #store(deltas: readonly Delta[]): Promise<void> {
    if (deltas.length === 0 && this.#isStored) return;
    const lines = deltas.map(formatLine).join('');
    const isLong = this.#journal.size + lines.length > Math.max(MIN_COMPACT_BYTES, this.#stateBytes);
    if (isLong || this.#mustCompact || !this.#journal.isInPlace()) return this.compact();
    await this.#journal.append(lines);
  }

  /**
   * Writes the whole state anew; not while an update is under way. After a power loss in between, the journal's lines are
   * older than the state and are left out.
   */
  async compact(): Promise<void> {
    const state = this.snapshot();
    const text = formatStored(state);
    await writeFileAtomic(this.#path, text, { mode: STATE_MODE });
    this.#stateBytes = text.length;
    // A worker may have been found meanwhile.
    this.#mustCompact = this.#live.version !== state.version;
    this.#isStored = true;
    // If this fails the next change tries again; what lies there is older than the state.
    await this.#journal.clear().catch(() => undefined);
  }

  #notStored(cause: unknown): MetalhubError {
    // Without the call and the name of a temporary file, which say nothing to whoever reads this on a page.
    const [reason = ''] = errorText(cause).split(',');
    const place = dirname(this.#path);
    const isBroken = systemErrorCode(cause) === 'EIO';
    const hint = isBroken ? `look at the disk of ${place}: journalctl -k` : `check space and permissions of ${place}`;
    return new MetalhubError('MH_ERR_PROXY_STATE', { details: { reason }, hint, cause });
  }
}

const NO_CHANGE: Omit<Delta, 'version'> = { remove: [], put: [], keys: null, revoke: [] };

/** @throws {ShapeError} one is missing */
function replay(state: LiveState, deltas: readonly Delta[]): void {
  for (const delta of deltas) {
    if (delta.version <= state.version) continue;
    if (delta.version !== state.version + 1) throw new ShapeError(`journal: no change ${state.version + 1}`);
    state.apply(delta);
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** `state.json.damaged-3`, `state.journal.damaged-3`; nothing is overwritten. */
function setAside(paths: readonly string[]): string[] {
  const numbers = paths.flatMap((path) => {
    const prefix = `${basename(path)}.damaged-`;
    return readdirSync(dirname(path))
      .filter((name) => name.startsWith(prefix))
      .map((name) => Number(name.slice(prefix.length)))
      .filter((number) => Number.isSafeInteger(number));
  });
  const next = Math.max(0, ...numbers) + 1;
  return paths.flatMap((path) => {
    const aside = join(dirname(path), `${basename(path)}.damaged-${next}`);
    try {
      renameSync(path, aside);
      return [aside];
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return [];
      throw error;
    }
  });
}
