import { MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';

export interface GateLimits {
  /** One at a time: guesses at one name in parallel would all pass before the first is counted. */
  readonly perName: number;
  readonly perAddress: number;
  /** Below `MaxConnections=` of hub-pam.socket, where more would be refused. */
  readonly total: number;
  readonly waitingPerName: number;
  readonly waitingPerAddress: number;
  readonly waitingTotal: number;
  readonly maxWaitMs: number;
}

export const LOGIN_GATE_LIMITS: GateLimits = {
  perName: 1,
  perAddress: 4,
  total: 12,
  waitingPerName: 3,
  waitingPerAddress: 64,
  waitingTotal: 512,
  maxWaitMs: 30 * SECOND_MS,
};

interface Entry {
  name: string;
  address: string | undefined;
}

interface Waiting extends Entry {
  enter: () => void;
}

/** Bounds how many passwords are being checked at once, so that one visitor cannot take every place. */
export class LoginGate {
  readonly #limits: GateLimits;
  readonly #running: Entry[] = [];
  readonly #waiting: Waiting[] = [];

  constructor(limits: GateLimits = LOGIN_GATE_LIMITS) {
    this.#limits = limits;
  }

  /**
   * Waits for a place and returns the function that gives it back.
   * @param address `undefined` when it says nothing of the visitor: then only the name and the total are bounded
   * @throws {MH_ERR_BUSY} too many wait already, or for too long
   */
  async enter(name: string, address: string | undefined): Promise<() => void> {
    const entry: Entry = { name, address };
    if (!this.#mayRun(entry)) await this.#wait(entry);
    else this.#running.push(entry);
    return () => {
      const index = this.#running.indexOf(entry);
      if (index >= 0) this.#running.splice(index, 1);
      this.#admit();
    };
  }

  #mayRun({ name, address }: Entry): boolean {
    return (
      this.#running.length < this.#limits.total &&
      this.#running.filter((entry) => entry.name === name).length < this.#limits.perName &&
      countOf(this.#running, address) < this.#limits.perAddress
    );
  }

  #wait(entry: Entry): Promise<void> {
    const { waitingPerName, waitingPerAddress, waitingTotal, maxWaitMs } = this.#limits;
    const isFull =
      this.#waiting.length >= waitingTotal ||
      this.#waiting.filter(({ name }) => name === entry.name).length >= waitingPerName ||
      countOf(this.#waiting, entry.address) >= waitingPerAddress;
    if (isFull) return Promise.reject(busy());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(busy());
      }, maxWaitMs);
      const enter = (): void => {
        clearTimeout(timer);
        this.#running.push(entry);
        resolve();
      };
      const waiting: Waiting = { ...entry, enter };
      this.#waiting.push(waiting);
    });
  }

  /** In the order of arrival, passing over those whose name or address has no place free. */
  #admit(): void {
    for (const waiting of [...this.#waiting]) {
      if (this.#running.length >= this.#limits.total) return;
      if (!this.#mayRun(waiting)) continue;
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      waiting.enter();
    }
  }
}

function countOf(entries: readonly Entry[], address: string | undefined): number {
  return address === undefined ? 0 : entries.filter((entry) => entry.address === address).length;
}

function busy(): MetalhubError {
  return new MetalhubError('MH_ERR_BUSY', { details: { reason: 'many people are logging in' } });
}
