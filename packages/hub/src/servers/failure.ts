import { type ErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import type { ServerName } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { LogLine } from '@metalhub/wire/logs.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import type { Failure } from '../db/tables/servers.js';
import type { User } from '../db/tables/users.js';
import { findHint } from './hints.js';
import { sentence } from './progress.js';
import { redactLine } from './redact.js';
import type { ServerServices } from './server-services.js';
import type { Run } from './server-state.js';

/** So many of the unit's last lines are shown. */
const SHOWN_LINES = 30;
const MAX_LINE_LENGTH = 1000;
const LOGS_TIMEOUT_MS = 3 * SECOND_MS;
const LATE_MS = 300;
const MAX_TEXT_LENGTH = 2000;

/** What a unit wrote last. */
export interface LastLines {
  readonly lines: readonly string[];
  /** False when reading them failed: there may be more, or other ones. */
  readonly isComplete: boolean;
}

export const NO_LINES: LastLines = { lines: [], isComplete: true };

/**
 * Whether the server's log says no more than the error, in the same words (launcher.py). Then nobody waits for it: reading
 * takes a third of the time in which such a start fails.
 */
export function explainsItself(error: unknown): boolean {
  if (!(error instanceof MetalhubError)) return false;
  return error.code === 'MH_ERR_SPAWN_JUPYTER_MISSING' || error.code === 'MH_ERR_SPAWN_JUPYTER_OLD';
}

/** What people are told of an error: ours by its own words, anything else not at all. */
export function failureOf(error: unknown, last: LastLines, nowMs: number, unit: string): Failure {
  const known = error instanceof MetalhubError ? error : new MetalhubError('MH_ERR_INTERNAL');
  const failure: Failure = {
    code: known.code,
    message: known.message.slice(0, MAX_TEXT_LENGTH),
    hint: chooseHint(known, last.lines),
    log_lines: [],
    at_ms: nowMs,
    during: 'start',
  };
  return withLastLines(failure, last, unit);
}

/** Nobody must take a log that could not be read for one in which nothing stands. */
export function withLastLines(failure: Failure, { lines, isComplete }: LastLines, unit: string): Failure {
  const note = `The log could not be read to its end; the administrator can see it: journalctl -u ${unit}`;
  const hints = [failure.hint && sentence(failure.hint), isComplete ? null : note].filter((text) => text !== null);
  const hint = hints.length === 0 ? null : hints.join(' ').slice(0, MAX_TEXT_LENGTH);
  return { ...failure, hint, log_lines: [...lines] };
}

/** That a server ended is all the spawner can know; what it wrote last says more. Other errors explain themselves. */
function chooseHint({ code, hint }: MetalhubError, lines: readonly string[]): string | null {
  const found = findHint(code, lines);
  return code === 'MH_ERR_SPAWN_EXITED' ? (found ?? hint ?? null) : (hint ?? found);
}

/** Why a server that nobody stopped is gone. */
export function endOf(status: ServerStatus, nowMs: number, during: Failure['during']): Failure {
  const code: ErrorCode = status.result === 'oom-kill' ? 'MH_ERR_SPAWN_OOM' : 'MH_ERR_SPAWN_EXITED';
  const how = status.result === null ? '' : ` (${status.result}, status ${status.exit_status ?? 'unknown'})`;
  const message = code === 'MH_ERR_SPAWN_OOM' ? 'the server ran out of memory' : `the server ended by itself${how}`;
  return { code, message, hint: findHint(code, []), log_lines: [], at_ms: nowMs, during };
}

/**
 * The last lines of one run of a server, without secrets. That the journal cannot be asked must not hide the failure.
 *
 * What was written by a process that has ended meanwhile may lack the number of the run, which journald then cannot find any
 * more (5 of 60 that ended at once), or come a moment later. So the time says which lines are meant, and where none is the
 * server's own they are read again.
 */
export async function lastLinesOf(
  services: Pick<ServerServices, 'logs' | 'tokens' | 'log' | 'sleep'>,
  { user: { key }, name: server }: { readonly user: Pick<User, 'key'>; readonly name: ServerName },
  { startId, requestedMs }: Run,
): Promise<LastLines> {
  const { logs, tokens, log, sleep } = services;
  let lines: LogLine[] = [];
  let isComplete = true;
  const read = async (): Promise<void> => {
    lines = [];
    const query = { key, server, invocationId: null, lines: SHOWN_LINES };
    await logs.read(query, (line) => void lines.push(line), { timeoutMs: LOGS_TIMEOUT_MS });
    lines = lines.filter(({ time_ms }) => time_ms >= requestedMs - SECOND_MS);
  };
  try {
    await read();
    if (lines.every(({ identifier }) => identifier === 'systemd')) {
      await sleep(LATE_MS);
      await read();
    }
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    isComplete = false;
    log.warning('log of a server could not be read', { key, server, err: error });
  }
  const secrets = [tokens(key, server, startId)];
  const shown = lines.slice(-SHOWN_LINES).map(({ message }) => redactLine(message, secrets).slice(0, MAX_LINE_LENGTH));
  return { lines: shown, isComplete };
}
