import { writeSync } from 'node:fs';
import type { Log, LogFields } from '@metalhub/base/log.js';
import { takeSystemdEnvironment } from './environment.js';
import { cleanText, type JournalEntry, journalFields, plainFields } from './journal-fields.js';
import { isStderrJournal, openJournal } from './journal-socket.js';

const STDERR_FD = 2;
const MAX_LINE_BYTES = 8 * 1024;
// Bound of one line of pino's; the longest that journalFields() would keep is shorter.
const MAX_PINO_LINE_CHARACTERS = 256 * 1024;

/** Names of the levels with syslog's priorities, for `LevelMax`-like settings. */
export const LOG_LEVELS = { critical: 2, error: 3, warning: 4, notice: 5, info: 6, debug: 7 } as const;
export type LogLevel = keyof typeof LOG_LEVELS;

/** pino's numbers for our levels; `notice` is ours: `pino({customLevels: {notice: 35}}, …)`. */
export const PINO_NOTICE_LEVEL = 35;

/** Takes one entry and never throws. */
export type EntrySink = (entry: JournalEntry) => void;

export interface LogOptions {
  /** `SYSLOG_IDENTIFIER`: the program's name. */
  readonly identifier: string;
  /** The least important level that is written; `info` unless given. */
  readonly level?: LogLevel;
  /** For tests; otherwise the journal when stderr goes there, else JSON lines on stderr. */
  readonly sink?: EntrySink;
}

/**
 * Makes the log of a program that does not carry pino.
 *
 * Fields `user server service clientId requestId unit event err` have a meaning of their own (docs/architecture.md,
 * logging); any other field `someName` becomes `METALHUB_SOME_NAME`.
 */
export function createLog(options: LogOptions): Log {
  return makeLog(options.identifier, LOG_LEVELS[options.level ?? 'info'], options.sink ?? openSink(), {});
}

/** What pino needs of a destination. */
export interface PinoDestination {
  write(lines: string): void;
}

/**
 * A destination for pino that writes the same entries as {@link createLog}.
 *
 * Use pino without its `timestamp`, `pid` and `hostname` (`{base: null, timestamp: false}`): the journal has better ones.
 */
export function pinoDestination(identifier: string, sink: EntrySink = openSink()): PinoDestination {
  return {
    write(lines) {
      for (const line of lines.split('\n')) {
        if (line !== '') sink(entryOfPinoLine(identifier, line));
      }
    },
  };
}

/** The journal when stderr goes there, else one line of JSON per entry on stderr. */
function openSink(): EntrySink {
  if (!isStderrJournal(takeSystemdEnvironment().journalStream)) return writeJsonLine;
  const isRoot = process.geteuid?.() === 0;
  let journal: ReturnType<typeof openJournal> | undefined;
  return (entry) => {
    try {
      journal ??= openJournal();
      if (journal(journalFields(entry, isRoot))) return;
    } catch {
      // No socket could be made.
    }
    // stderr reaches the journal by another way, or will when journald is back; the fields become text.
    writeJsonLine(entry);
  };
}

function makeLog(identifier: string, maxPriority: number, sink: EntrySink, bound: LogFields): Log {
  function write(priority: number, message: string, fields: LogFields | undefined): void {
    if (priority <= maxPriority) sink({ identifier, priority, message, fields: { ...bound, ...fields } });
  }
  return {
    debug: (message, fields) => write(LOG_LEVELS.debug, message, fields),
    info: (message, fields) => write(LOG_LEVELS.info, message, fields),
    notice: (message, fields) => write(LOG_LEVELS.notice, message, fields),
    warning: (message, fields) => write(LOG_LEVELS.warning, message, fields),
    error: (message, fields) => write(LOG_LEVELS.error, message, fields),
    critical: (message, fields) => write(LOG_LEVELS.critical, message, fields),
    child: (fields) => makeLog(identifier, maxPriority, sink, { ...bound, ...fields }),
  };
}

function entryOfPinoLine(identifier: string, line: string): JournalEntry {
  const record = parseObject(line);
  if (record === undefined) {
    return { identifier, priority: LOG_LEVELS.info, message: cleanText(line, MAX_LINE_BYTES), fields: {} };
  }
  const { level, msg, time: _time, pid: _pid, hostname: _hostname, ...fields } = record;
  return {
    identifier,
    priority: priorityOfPinoLevel(level),
    message: typeof msg === 'string' ? msg : '',
    fields,
  };
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (line.length > MAX_PINO_LINE_CHARACTERS) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function priorityOfPinoLevel(level: unknown): number {
  if (typeof level !== 'number') return LOG_LEVELS.info;
  if (level >= 60) return LOG_LEVELS.critical;
  if (level >= 50) return LOG_LEVELS.error;
  if (level >= 40) return LOG_LEVELS.warning;
  if (level >= PINO_NOTICE_LEVEL) return LOG_LEVELS.notice;
  return level >= 30 ? LOG_LEVELS.info : LOG_LEVELS.debug;
}

function writeJsonLine(entry: JournalEntry): void {
  const level = Object.entries(LOG_LEVELS).find(([, priority]) => priority === entry.priority)?.[0];
  const record = {
    time: new Date().toISOString(),
    level,
    identifier: entry.identifier,
    msg: cleanText(entry.message, MAX_LINE_BYTES),
    ...plainFields(entry.fields),
  };
  try {
    writeSync(STDERR_FD, `${JSON.stringify(record)}\n`);
  } catch {
    // A closed or full stderr is no reason to stop serving.
  }
}
