import type { Log, LogFields } from '@metalhub/base/log.js';
import { PINO_NOTICE_LEVEL, type PinoDestination, pinoDestination } from '@metalhub/systemd/journal.js';
import { type Logger, pino } from 'pino';

type HubLogger = Logger<'notice'>;

/** The hub's log: pino's entries in the journal, or as lines of JSON outside systemd. */
export function openLog(destination: PinoDestination = pinoDestination('hub')): Log {
  const logger: HubLogger = pino(
    { base: null, timestamp: false, customLevels: { notice: PINO_NOTICE_LEVEL }, level: 'info' },
    destination,
  );
  return wrap(logger);
}

function wrap(logger: HubLogger): Log {
  return {
    debug: (message, fields = {}) => logger.debug(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    notice: (message, fields = {}) => logger.notice(fields, message),
    warning: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
    critical: (message, fields = {}) => logger.fatal(fields, message),
    child: (fields: LogFields) => wrap(logger.child(fields)),
  };
}
