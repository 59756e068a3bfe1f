/** Values that accompany a constant message; see packages/systemd journal.ts for how they become journal fields. */
export type LogFields = Readonly<Record<string, unknown>>;

/** What every program logs through. Messages are constant text, values go into fields, secrets into neither. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  /** Normal but worth an administrator's look: login, server started or stopped. */
  notice(message: string, fields?: LogFields): void;
  warning(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  critical(message: string, fields?: LogFields): void;
  child(fields: LogFields): Log;
}
