import { MetalhubError } from '@metalhub/base/errors.js';
import type { ServerId } from '@metalhub/base/names.js';

/** Lets so many through at once; the rest waits in order. */
export interface Slots {
  /** @throws the signal's reason, {MH_ERR_BUSY} */
  enter(signal: AbortSignal): Promise<() => void>;
}

export function createSlots(count: number, maxWaiting: number): Slots {
  let free = count;
  const waiting: (() => void)[] = [];

  function leave(): void {
    const next = waiting.shift();
    if (next === undefined) free++;
    else next();
  }

  return {
    async enter(signal) {
      signal.throwIfAborted();
      if (free > 0) free--;
      else if (waiting.length >= maxWaiting)
        throw new MetalhubError('MH_ERR_BUSY', { details: { reason: 'starts of servers' } });
      else await queue(signal);
      return once(leave);
    },
  };

  function queue(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        signal.removeEventListener('abort', abort);
        resolve();
      };
      const abort = (): void => {
        waiting.splice(waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      waiting.push(go);
      signal.addEventListener('abort', abort, { once: true });
    });
  }
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) action();
    isDone = true;
  };
}

/** What a start in progress is given. */
export interface StartRun<S> {
  /** Aborted by a stop, with MH_ERR_SPAWN_CANCELLED as the reason. */
  readonly signal: AbortSignal;
  stage(stage: S): void;
}

interface Start<R, S> {
  readonly kind: 'start';
  readonly promise: Promise<R>;
  readonly abort: AbortController;
  readonly stages: S[];
  readonly listeners: Set<(stage: S) => void>;
}

interface Stop<R> {
  readonly kind: 'stop';
  readonly promise: Promise<R>;
}

/** One start or stop per server at a time: equal requests share one, a stop ends a start, a start waits for a stop. */
export interface Operations<R, S> {
  start(id: ServerId, onStage: (stage: S) => void, run: (run: StartRun<S>) => Promise<R>): Promise<R>;
  stop(id: ServerId, run: () => Promise<R>): Promise<R>;
  /** Whether a start or a stop of this server is under way. */
  isPending(id: ServerId): boolean;
  readonly size: number;
}

export function createOperations<R, S>(): Operations<R, S> {
  const running = new Map<ServerId, Start<R, S> | Stop<R>>();

  function track<O extends Start<R, S> | Stop<R>>(id: ServerId, operation: O): O {
    running.set(id, operation);
    const forget = (): void => {
      if (running.get(id) === operation) running.delete(id);
    };
    operation.promise.then(forget, forget);
    return operation;
  }

  async function start(id: ServerId, onStage: (stage: S) => void, run: (run: StartRun<S>) => Promise<R>): Promise<R> {
    for (let current = running.get(id); current !== undefined; current = running.get(id)) {
      if (current.kind === 'start' && !current.abort.signal.aborted) {
        current.stages.forEach(onStage);
        current.listeners.add(onStage);
        return current.promise;
      }
      await settled(current.promise);
    }
    const abort = new AbortController();
    const stages: S[] = [];
    const listeners = new Set([onStage]);
    const stage = (name: S): void => {
      stages.push(name);
      for (const listener of listeners) listener(name);
    };
    // Deferred, so that the table knows of the start before it does anything.
    const promise = Promise.resolve().then(() => run({ signal: abort.signal, stage }));
    return track(id, { kind: 'start', promise, abort, stages, listeners }).promise;
  }

  async function stop(id: ServerId, run: () => Promise<R>): Promise<R> {
    for (let current = running.get(id); current !== undefined; current = running.get(id)) {
      if (current.kind === 'stop') return current.promise;
      current.abort.abort(new MetalhubError('MH_ERR_SPAWN_CANCELLED'));
      await settled(current.promise);
    }
    return track(id, { kind: 'stop', promise: Promise.resolve().then(run) }).promise;
  }

  return {
    start,
    stop,
    isPending: (id) => running.has(id),
    get size() {
      return running.size;
    },
  };
}

/** Also one turn later than whoever removes it from the table. */
async function settled(promise: Promise<unknown>): Promise<void> {
  await promise.catch(() => undefined);
  await Promise.resolve();
}
