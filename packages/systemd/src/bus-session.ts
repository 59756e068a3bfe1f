import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { type Bus, type BusSignal, connectBus } from './bus.js';
import type { BusCall } from './bus-calls.js';
import { isUnavailable, isUndelivered, unavailable } from './bus-errors.js';
import type { BusValue } from './variant.js';

const FIRST_DELAY_MS = 20;
const MAX_DELAY_MS = 1000;
// How long a call waits for a bus or a systemd that is just restarting.
const MAX_WAIT_MS = 5000;
const MAX_ATTEMPTS = 3;

export interface BusSessionOptions {
  readonly socketPath: string;
  readonly peer: string;
  readonly log: Log | undefined;
  readonly onSignal: (signal: BusSignal) => void;
  /** The peer can be called (again): match rules and subscriptions of before are gone. */
  readonly onUp: (bus: Bus) => Promise<void>;
}

/** A connection to the bus that comes back by itself. */
export interface BusSession {
  /**
   * Makes a call, waiting up to 5 s for the connection.
   *
   * @param idempotent whether to make it again when it is unknown if it arrived
   */
  call(call: BusCall, idempotent: boolean): Promise<readonly BusValue[]>;
  close(): void;
}

/** @throws {MH_ERR_SYSTEMD_UNAVAILABLE} no bus, or no peer on it, within 5 s */
export async function openBusSession(options: BusSessionOptions): Promise<BusSession> {
  const session = new Session(options);
  try {
    await session.start();
    return session;
  } catch (error) {
    session.close();
    throw error;
  }
}

class Session implements BusSession {
  readonly #options: BusSessionOptions;
  readonly #closing = new AbortController();
  #bus: Bus | undefined;
  /** The peer's name for which onUp() is through; calls before that could miss the signals they cause. */
  #readyOwner: string | undefined;
  #lastReason = 'not connected yet';
  /** Who waits for the peer. */
  #waiting = new Set<() => void>();

  constructor(options: BusSessionOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    void this.#connect(); // never rejects; its outcome is what #ready() waits for
    await this.#ready(undefined);
  }

  async call(call: BusCall, idempotent: boolean): Promise<readonly BusValue[]> {
    for (let attempt = 1; ; attempt++) {
      const bus = await this.#ready(call.signal);
      try {
        return await bus.call(call);
      } catch (error) {
        const mayRepeat = isUndelivered(error) || (idempotent && isUnavailable(error));
        if (!mayRepeat || attempt === MAX_ATTEMPTS || this.#closing.signal.aborted) throw error;
      }
    }
  }

  close(): void {
    this.#closing.abort();
    this.#bus?.close();
    this.#bus = undefined;
    this.#readyOwner = undefined;
    this.#wake();
  }

  async #connect(): Promise<void> {
    const { signal } = this.#closing;
    for (let delayMs = FIRST_DELAY_MS; !signal.aborted; delayMs = Math.min(delayMs * 2, MAX_DELAY_MS)) {
      if (await this.#tryConnect()) return;
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #tryConnect(): Promise<boolean> {
    const { socketPath, peer, onSignal } = this.#options;
    try {
      const bus = await connectBus({
        socketPath,
        peer,
        onSignal,
        onPeer: (owner) => void this.#onPeer(owner), // never rejects
        onEnd: (reason) => this.#onEnd(reason),
      });
      if (this.#closing.signal.aborted) bus.close();
      else this.#bus = bus;
      return this.#bus !== bus || (await this.#setUp(bus));
    } catch (error) {
      this.#lastReason = errorText(error);
      this.#options.log?.debug('connection to the bus failed', { reason: this.#lastReason });
      return false;
    }
  }

  #onEnd(reason: string): void {
    this.#bus = undefined;
    this.#readyOwner = undefined;
    this.#lastReason = reason;
    this.#options.log?.debug('connection to the bus lost', { reason });
    void this.#connect(); // never rejects
  }

  async #onPeer(owner: string | undefined): Promise<void> {
    this.#readyOwner = undefined;
    this.#options.log?.debug('systemd moved on the bus', { owner: owner ?? 'gone' });
    const bus = this.#bus;
    if (owner === undefined || bus === undefined || (await this.#setUp(bus))) return;
    void this.#connect(); // never rejects
  }

  /** Returns false, with the connection closed, when the peer is there but cannot be worked with. */
  async #setUp(bus: Bus): Promise<boolean> {
    const owner = bus.peerOwner();
    if (owner === undefined) return true;
    try {
      await this.#options.onUp(bus);
    } catch (error) {
      this.#lastReason = errorText(error);
      this.#options.log?.debug('setting up the connection to the bus failed', { reason: this.#lastReason });
      // When either of the two is gone by now, its return starts the next round.
      if (this.#bus !== bus || bus.peerOwner() !== owner) return true;
      this.#bus = undefined;
      bus.close();
      return false;
    }
    if (this.#bus === bus && bus.peerOwner() === owner) this.#readyOwner = owner;
    this.#wake();
    return true;
  }

  /** The connection, once the peer is on the bus. */
  async #ready(signal: AbortSignal | undefined): Promise<Bus> {
    const deadlineMs = performance.now() + MAX_WAIT_MS;
    for (;;) {
      signal?.throwIfAborted();
      if (this.#closing.signal.aborted) throw unavailable('closed');
      if (this.#bus !== undefined && this.#readyOwner !== undefined) return this.#bus;
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) throw unavailable(this.#whyNotReady());
      await this.#waitForChange(leftMs, signal);
    }
  }

  #whyNotReady(): string {
    return this.#bus?.peerOwner() === undefined && this.#bus !== undefined
      ? `${this.#options.peer} is not on the bus`
      : this.#lastReason;
  }

  #waitForChange(maxMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, maxMs);
      signal?.addEventListener('abort', done, { once: true });
      this.#waiting.add(done);
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
