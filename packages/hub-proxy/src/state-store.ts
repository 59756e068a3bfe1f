import { readdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { ShapeError } from '@metalhub/base/shape.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { EMPTY_STATE, type ProxyState } from './proxy-state.js';
import { formatStored, parseState } from './state-format.js';

const STATE_MODE = 0o600;

/** The proxy's state and its file. Only one supervisor at a time has one. */
export class StateStore {
  readonly #path: string;
  #state: ProxyState;
  #isStored = true;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, state: ProxyState) {
    this.#path = path;
    this.#state = state;
  }

  /** Reads the file; a damaged one is set aside, and the table is empty until the hub fills it again. */
  static open(path: string, log: Log): StateStore {
    const text = readIfThere(path);
    if (text === undefined) return new StateStore(path, EMPTY_STATE);
    try {
      return new StateStore(path, parseState(JSON.parse(text), ''));
    } catch (error) {
      if (!(error instanceof ShapeError) && !(error instanceof SyntaxError)) throw error;
      const aside = setAside(path);
      log.error('the stored routes were damaged; the hub has to send them again', {
        file: path,
        aside,
        reason: error.message,
      });
      return new StateStore(path, EMPTY_STATE);
    }
  }

  get state(): ProxyState {
    return this.#state;
  }

  /**
   * Changes the state, one change after the other. What allows something counts only once it is on the disk; what takes
   * something away counts at once, and is stored with the next change, or when it is asked for again.
   *
   * @param change returns its argument's successor, or the argument itself for no change
   * @throws {MH_ERR_PROXY_STATE} and nothing has changed, unless it takes away; or what `change` throws
   */
  update(change: (state: ProxyState) => ProxyState, kind: 'allow' | 'take away' = 'allow'): Promise<ProxyState> {
    const result = this.#writing.then(async () => {
      const next = change(this.#state);
      if (next === this.#state && this.#isStored) return next;
      try {
        await writeFileAtomic(this.#path, `${JSON.stringify(formatStored(next))}\n`, { mode: STATE_MODE });
      } catch (cause) {
        if (kind === 'take away') {
          this.#state = next;
          this.#isStored = false;
        }
        // Without the call and the name of a temporary file, which say nothing to whoever reads this on a page.
        const [reason = ''] = errorText(cause).split(',');
        throw new MetalhubError('MH_ERR_PROXY_STATE', {
          details: { reason },
          hint: `check space and permissions of ${dirname(this.#path)}`,
          cause,
        });
      }
      this.#state = next;
      this.#isStored = true;
      return next;
    });
    this.#writing = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  /** Resolves when nothing is being written. */
  settled(): Promise<void> {
    return this.#writing;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** `state.json.damaged-3`; nothing is overwritten. */
function setAside(path: string): string {
  const prefix = `${basename(path)}.damaged-`;
  const numbers = readdirSync(dirname(path))
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
    .filter((number) => Number.isSafeInteger(number));
  const aside = join(dirname(path), `${prefix}${Math.max(0, ...numbers) + 1}`);
  renameSync(path, aside);
  return aside;
}
