export interface IdleExit {
  /** Something was asked: the time begins anew. */
  touch(): void;
  stop(): void;
}

export interface IdleExitOptions {
  /** Milliseconds without a request after which the daemon is not needed. */
  readonly idleMs: number;
  /** While it says so, the daemon stays. */
  readonly isBusy: () => boolean;
  readonly onIdle: () => void;
}

/** Calls back once nothing was asked for long enough, and nothing is left to look after. */
export function createIdleExit({ idleMs, isBusy, onIdle }: IdleExitOptions): IdleExit {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  function arm(): void {
    timer = setTimeout(() => {
      if (isBusy()) arm();
      else onIdle();
    }, idleMs);
  }

  arm();
  return {
    touch() {
      clearTimeout(timer);
      // The last requests end after the stop; a new timer would keep the process.
      if (!isStopped) arm();
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
