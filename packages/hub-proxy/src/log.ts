import type { Log, LogFields } from '@metalhub/base/log.js';
import { PINO_NOTICE_LEVEL, pinoDestination } from '@metalhub/systemd/journal.js';
import { type Logger, pino } from 'pino';

/** Both processes write under one name: for an administrator they are one program. */
const IDENTIFIER = 'hub-proxy';

const REDACTED = ['token', '*.token', 'ticket', '*.ticket', 'cookie', '*.cookie', 'authorization', '*.authorization'];

/** The program's log, through pino into the journal. */
export function createProxyLog(): Log {
  const logger = pino(
    { base: null, timestamp: false, customLevels: { notice: PINO_NOTICE_LEVEL }, redact: REDACTED },
    pinoDestination(IDENTIFIER),
  );
  return wrap(logger);
}

function wrap(logger: Logger<'notice'>): Log {
  return {
    debug: (message: string, fields?: LogFields) => logger.debug(fields ?? {}, message),
    info: (message: string, fields?: LogFields) => logger.info(fields ?? {}, message),
    notice: (message: string, fields?: LogFields) => logger.notice(fields ?? {}, message),
    warning: (message: string, fields?: LogFields) => logger.warn(fields ?? {}, message),
    error: (message: string, fields?: LogFields) => logger.error(fields ?? {}, message),
    critical: (message: string, fields?: LogFields) => logger.fatal(fields ?? {}, message),
    child: (fields: LogFields) => wrap(logger.child(fields)),
  };
}
