import { MetalhubError } from '@metalhub/base/errors.js';

/** Of starts that wait. Nobody waits for their end in earnest. */
const MAX_WAITING = 2000;

interface Entry {
  readonly owner: number;
  readonly go: () => void;
  readonly onAhead: (ahead: number) => void;
  ahead: number | undefined;
}

/**
 * Lets so many starts through at once. Users take turns: whoever starts several servers waits with the second until
 * everybody else has had a first.
 */
export class StartQueue {
  readonly #limit: () => number;
  /** How many starts of each user are under way. */
  readonly #running = new Map<number, number>();
  /** How many starts of each user were let through since somebody has to wait, with those that were under way then. */
  #turns = new Map<number, number>();
  /** In the order they came. */
  #waiting: Entry[] = [];
  #count = 0;
  #isClosed = false;

  /** @param limit asked each time, so that a changed configuration counts from then on */
  constructor(limit: () => number) {
    this.#limit = limit;
  }

  /**
   * Waits for its turn.
   * @param owner number of the user
   * @param onAhead told how many starts come before it, at first and whenever that changes; not when there is no wait
   * @returns the function that lets the next one go
   * @throws the signal's reason, {MH_ERR_BUSY}
   */
  async enter(owner: number, signal: AbortSignal, onAhead: (ahead: number) => void): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#waiting.length > 0 || this.#count >= this.#limit()) await this.#wait(owner, signal, onAhead);
    else this.#enter(owner);
    let isOver = false;
    return () => {
      if (!isOver) this.#leave(owner);
      isOver = true;
    };
  }

  /** Lets nobody through any more; who waits is taken up by the next process. */
  close(): void {
    this.#isClosed = true;
  }

  #wait(owner: number, signal: AbortSignal, onAhead: (ahead: number) => void): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) {
      throw new MetalhubError('MH_ERR_BUSY', { details: { reason: 'starts of servers' } });
    }
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const entry: Entry = { owner, go, onAhead, ahead: undefined };
      const giveUp = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        this.#tell();
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.push(entry);
      this.#advance();
    });
  }

  #enter(owner: number): void {
    this.#count++;
    this.#running.set(owner, (this.#running.get(owner) ?? 0) + 1);
    this.#turns.set(owner, (this.#turns.get(owner) ?? 0) + 1);
  }

  #leave(owner: number): void {
    this.#count--;
    const left = (this.#running.get(owner) ?? 1) - 1;
    if (left > 0) this.#running.set(owner, left);
    else this.#running.delete(owner);
    this.#advance();
  }

  #advance(): void {
    while (this.#count < this.#limit() && !this.#isClosed) {
      const [next] = inTurns(this.#waiting, this.#turns);
      if (next === undefined) break;
      this.#waiting = this.#waiting.filter((entry) => entry !== next);
      // Here, not by whoever waited: several may go in one turn of the loop.
      this.#enter(next.owner);
      next.go();
    }
    this.#tell();
  }

  #tell(): void {
    if (this.#waiting.length === 0) this.#turns = new Map(this.#running);
    for (const [ahead, entry] of inTurns(this.#waiting, this.#turns).entries()) {
      if (entry.ahead === ahead) continue;
      entry.ahead = ahead;
      entry.onAhead(ahead);
    }
  }
}

/**
 * Who comes when: each user's first start before anybody's second; among equals who came first.
 * @param turns how many each user has had
 */
export function inTurns<E extends { readonly owner: number }>(
  waiting: readonly E[],
  turns: ReadonlyMap<number, number>,
): E[] {
  const rounds = new Map(turns);
  const ranked = waiting.map((entry, index) => {
    const round = rounds.get(entry.owner) ?? 0;
    rounds.set(entry.owner, round + 1);
    return { entry, round, index };
  });
  return ranked.sort((a, b) => a.round - b.round || a.index - b.index).map(({ entry }) => entry);
}
