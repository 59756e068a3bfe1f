import { MetalhubError } from '@metalhub/base/errors.js';
import { timedOut } from './bus-errors.js';

/**
 * How systemd ended a job: `done`, `failed`, `canceled`, `timeout`, `dependency`, `skipped`, and whatever later versions
 * add. Only `done` is success.
 *
 * @see org.freedesktop.systemd1(5), signal JobRemoved
 */
export type JobResult = 'done' | 'failed' | 'canceled' | 'timeout' | 'dependency' | 'skipped' | (string & {});

export interface JobOutcome {
  readonly unit: string;
  readonly jobPath: string;
  readonly result: JobResult;
  /**
   * The signal was lost with the connection, so the result was read off the unit's state afterwards; `unknown` when the
   * unit was gone by then.
   */
  readonly isDeduced: boolean;
}

export interface JobWaitOptions {
  /** How long the job may take; longer than the unit's own time-out. */
  readonly jobTimeoutMs: number;
  /** Ends the wait, not the job. */
  readonly signal?: AbortSignal | undefined;
}

export interface WaitingJob {
  readonly unit: string;
  readonly jobPath: string;
  readonly isStop: boolean;
}

/** Matches jobs with the JobRemoved signals that end them. */
export interface JobTable {
  /** Makes a call that returns a job's path, and waits for that job. The signal may arrive before the reply. */
  run(unit: string, isStop: boolean, queue: () => Promise<string>, options: JobWaitOptions): Promise<JobOutcome>;
  /** For each JobRemoved signal. */
  removed(jobPath: string, result: string): void;
  /** For each job whose signal may have been lost; `undefined` from `ask` when it is still running. */
  recheck(ask: (job: WaitingJob) => Promise<string | undefined>): Promise<void>;
  rejectAll(error: unknown): void;
}

interface Waiter extends WaitingJob {
  settle(result: string, isDeduced: boolean): void;
  fail(error: unknown): void;
}

/**
 * The outcome again, when the job was done.
 *
 * @throws {MH_ERR_SYSTEMD_JOB_FAILED} with `details.result`
 */
export function requireJobDone(outcome: JobOutcome): JobOutcome {
  if (outcome.result === 'done') return outcome;
  const { unit, result } = outcome;
  const hint = `see: journalctl -u ${unit} -n 20`;
  throw new MetalhubError('MH_ERR_SYSTEMD_JOB_FAILED', { details: { unit, result }, hint });
}

export function createJobTable(): JobTable {
  const waiters = new Map<string, Waiter>();
  // Results of jobs that nobody waits for yet, kept only while a reply is outstanding that may name one of them.
  const early = new Map<string, string>();
  let outstanding = 0;

  function wait(job: WaitingJob, options: JobWaitOptions): Promise<JobOutcome> {
    const { unit, jobPath } = job;
    const { jobTimeoutMs, signal } = options;
    return new Promise((resolve, reject) => {
      function forget(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        waiters.delete(jobPath);
      }
      function fail(error: unknown): void {
        forget();
        reject(error);
      }
      function settle(result: string, isDeduced: boolean): void {
        forget();
        resolve({ unit, jobPath, result, isDeduced });
      }
      function onAbort(): void {
        fail(signal?.reason);
      }
      const timer = setTimeout(() => fail(timedOut(jobTimeoutMs, 'job', unit)), jobTimeoutMs);
      signal?.addEventListener('abort', onAbort, { once: true });
      waiters.set(jobPath, { ...job, settle, fail });
      if (signal?.aborted === true) onAbort();
    });
  }

  async function run(
    unit: string,
    isStop: boolean,
    queue: () => Promise<string>,
    options: JobWaitOptions,
  ): Promise<JobOutcome> {
    outstanding++;
    try {
      const jobPath = await queue();
      const result = early.get(jobPath);
      if (result !== undefined) return { unit, jobPath, result, isDeduced: false };
      return wait({ unit, jobPath, isStop }, options);
    } finally {
      outstanding--;
      if (outstanding === 0) early.clear();
    }
  }

  function removed(jobPath: string, result: string): void {
    const waiter = waiters.get(jobPath);
    if (waiter !== undefined) waiter.settle(result, false);
    else if (outstanding > 0) early.set(jobPath, result);
  }

  async function recheck(ask: (job: WaitingJob) => Promise<string | undefined>): Promise<void> {
    const checks = [...waiters.values()].map(async (waiter) => {
      const result = await ask(waiter);
      // The signal may have settled it meanwhile.
      if (result !== undefined && waiters.get(waiter.jobPath) === waiter) waiter.settle(result, true);
    });
    await Promise.all(checks);
  }

  function rejectAll(error: unknown): void {
    for (const waiter of [...waiters.values()]) waiter.fail(error);
  }

  return { run, removed, recheck, rejectAll };
}
