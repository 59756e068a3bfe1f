import { type ErrorCode, MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { LogLine } from '@metalhub/wire/logs.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import type { LogQuery, LogsClient } from '../clients/logs-client.js';
import type { Failure } from '../db/tables/servers.js';
import { findHint } from './hints.js';
import { redactLine } from './redact.js';

/** So many of the unit's last lines are shown. */
const SHOWN_LINES = 30;
const MAX_LINE_LENGTH = 1000;
const LOGS_TIMEOUT_MS = 3 * SECOND_MS;

/** What people are told of an error: ours by its own words, anything else not at all. */
export function failureOf(error: unknown, lines: readonly string[], nowMs: number): Failure {
  const known = error instanceof MetalhubError ? error : new MetalhubError('MH_ERR_INTERNAL');
  return {
    code: known.code,
    message: known.message.slice(0, 2000),
    hint: chooseHint(known, lines)?.slice(0, 2000) ?? null,
    log_lines: [...lines],
    at_ms: nowMs,
    during: 'start',
  };
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

/** The unit's own last lines without secrets; none when the journal cannot be asked, which must not hide the failure. */
export async function readLastLines(
  logs: LogsClient,
  query: Omit<LogQuery, 'lines'>,
  options: { secrets: readonly string[]; sinceMs: number },
): Promise<string[]> {
  const lines: LogLine[] = [];
  try {
    await logs.read({ ...query, lines: SHOWN_LINES }, (line) => void lines.push(line), { timeoutMs: LOGS_TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
  }
  return lines
    .filter(({ time_ms }) => time_ms >= options.sinceMs - SECOND_MS)
    .slice(-SHOWN_LINES)
    .map(({ message }) => redactLine(message, options.secrets).slice(0, MAX_LINE_LENGTH));
}
