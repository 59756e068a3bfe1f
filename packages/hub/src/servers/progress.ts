import type { START_STAGES } from '@metalhub/wire/spawner.js';
import type { Failure } from '../db/tables/servers.js';
import type { FailureView, ProgressEvent } from '../web/pages/views.js';

export type StartStage = (typeof START_STAGES)[number] | 'requested' | 'route';

const STAGES: Readonly<Record<StartStage, { progress: number; message: string }>> = {
  requested: { progress: 0, message: 'Server requested' },
  account: { progress: 10, message: 'Preparing the account' },
  home: { progress: 25, message: 'Preparing the home directory' },
  repair: { progress: 30, message: 'Repairing who owns the files in the home directory, which may take minutes' },
  unit: { progress: 40, message: 'Starting the server' },
  waiting: { progress: 60, message: 'Waiting for the server to answer' },
  route: { progress: 90, message: 'Opening the way to the server' },
};

export function stageEvent(stage: StartStage): ProgressEvent {
  return { ...STAGES[stage], stage };
}

/** @param ahead how many starts come before this one */
export function queuedEvent(ahead: number): ProgressEvent {
  const others = ahead === 1 ? 'one other start' : `${ahead} other starts`;
  const message = ahead === 0 ? 'Waiting for a free place: yours is the next start' : `Waiting for ${others}`;
  return { progress: 5, stage: 'queued', message };
}

export function readyEvent(url: string): ProgressEvent {
  return { progress: 100, stage: 'ready', ready: true, message: `Server ready at ${url}`, url };
}

export function failedEvent(failure: Failure): ProgressEvent {
  const message = `${failure.during === 'start' ? 'Start failed' : 'The server ended'}: ${failure.message}`;
  return { progress: 100, stage: 'failed', failed: true, message, failure: failureView(failure) };
}

export function stoppedEvent(): ProgressEvent {
  return { progress: 100, stage: 'failed', failed: true, message: 'The start was cancelled' };
}

export function failureView({ message, hint, log_lines }: Failure): FailureView {
  return { message: sentence(message), logLines: log_lines, ...(hint !== null && { hint: sentence(hint) }) };
}

/** Catalogue texts begin in lower case, for logs; people get sentences. */
export function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?:]$/.test(capital) || capital.includes(': ') ? capital : `${capital}.`;
}
