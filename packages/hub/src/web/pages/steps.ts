import type { FailureView, ProgressEvent } from './views.js';

export interface Step {
  /** Tells steps apart; see {@link ProgressEvent.stage}. */
  readonly key: string;
  readonly message: string;
  readonly state: 'done' | 'active' | 'failed';
}

export interface Progress {
  readonly state: 'running' | 'ready' | 'failed';
  /** 0 to 100, never going back. */
  readonly percent: number;
  readonly steps: readonly Step[];
  /** The newest message; the failure's own when it failed. */
  readonly status: string;
  /** Where to go, when ready. */
  readonly url?: string;
  readonly failure?: FailureView;
}

/** Folds the events of one start into what the page shows. static/pending.js does the same for those that follow. */
export function foldProgress(events: readonly ProgressEvent[]): Progress {
  const messages = new Map<string, string>();
  let percent = 0;
  for (const event of events) {
    percent = Math.max(percent, Math.min(100, event.progress));
    if (event.ready !== true && event.failed !== true) messages.set(event.stage ?? event.message, event.message);
  }
  const end = events.findLast(({ ready, failed }) => ready === true || failed === true);
  const state = end === undefined ? 'running' : end.failed === true ? 'failed' : 'ready';
  const last = state === 'running' ? 'active' : state === 'ready' ? 'done' : 'failed';
  const steps = [...messages].map(
    ([key, message], index): Step => ({
      key,
      message,
      state: index === messages.size - 1 ? last : 'done',
    }),
  );
  const status = end?.failure?.message ?? end?.message ?? steps.at(-1)?.message ?? 'Preparing the start';
  const failure = state === 'failed' ? (end?.failure ?? { message: status, logLines: [] }) : undefined;
  return {
    state,
    percent: state === 'ready' ? 100 : percent,
    steps,
    status,
    ...(end?.url === undefined ? {} : { url: end.url }),
    ...(failure === undefined ? {} : { failure }),
  };
}
