import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import type { LogLine } from '@metalhub/wire/logs.js';
import { ExportParser } from './export-parser.js';
import { cleanLine, toLogLines } from './log-line.js';

const JOURNALCTL = '/usr/bin/journalctl';
const MAX_ERROR_BYTES = 1024;

export interface LineSink {
  emit(line: LogLine): void;
  /** Resolves when more may be emitted. */
  drained(): Promise<void>;
  /** Aborted when nobody listens any more. */
  readonly signal: AbortSignal;
}

/**
 * Runs journalctl and passes on its entries, no faster than they are taken; ends with it, or with the listener.
 * @param args of {@link journalctlArguments}
 * @throws {MH_ERR_LOGS_JOURNAL}
 */
export async function streamLog(args: readonly string[], sink: LineSink, command: string = JOURNALCTL): Promise<void> {
  if (sink.signal.aborted) return;
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { LC_ALL: 'C.UTF-8' } });
  const ended = once(child, 'close').catch((cause: unknown) => {
    throw journalError(errorText(cause), cause);
  });
  // Looked at below; until then a failed start must not count as unhandled.
  ended.catch(() => undefined);
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (complaint.length < MAX_ERROR_BYTES) complaint += chunk.toString('utf8', 0, MAX_ERROR_BYTES);
  });
  const stop = (): void => {
    child.kill();
  };
  sink.signal.addEventListener('abort', stop, { once: true });
  try {
    const parser = new ExportParser();
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      for (const line of parser.push(chunk).flatMap(toLogLines)) sink.emit(line);
      await sink.drained();
    }
    const [status] = (await ended) as [number | null];
    if (status !== 0 && !sink.signal.aborted) {
      throw journalError(cleanLine(complaint.split('\n')[0] ?? '').slice(0, 512) || `journalctl ended with ${status}`);
    }
  } finally {
    sink.signal.removeEventListener('abort', stop);
    child.kill();
  }
}

function journalError(reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_LOGS_JOURNAL', { details: { reason }, cause });
}
