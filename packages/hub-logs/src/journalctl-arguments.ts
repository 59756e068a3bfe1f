import { type Key, type ServerName, serverId, serviceUnit } from '@metalhub/base/names.js';

export interface LogQuery {
  readonly key: Key;
  readonly server: ServerName;
  /** 32 hex digits, one start of the server; null for all. */
  readonly invocationId: string | null;
  readonly lines: number;
  readonly follow: boolean;
}

/** What {@link toLogLines} looks at. */
export const FIELDS = ['MESSAGE', 'PRIORITY', 'SYSLOG_IDENTIFIER', '_COMM', '_UID'] as const;

const SPAWNER_UNIT = 'hub-spawner.service';

/**
 * The command line of journalctl for one server's log; no argument holds more than names we made and digits.
 *
 * Each alternative hangs on a field that journald itself sets (they begin with `_`): anybody may send an entry with any
 * other field, and so claim any `UNIT=`.
 * @see systemd.journal-fields(7), and add_matches_for_unit() of systemd for the model
 */
export function journalctlArguments({ key, server, invocationId, lines, follow }: LogQuery): string[] {
  const unit = serviceUnit(serverId(key, server));
  const only = (field: string): string[] => (invocationId === null ? [] : [`${field}=${invocationId}`]);
  return [
    '--quiet',
    '--no-pager',
    // Unlike JSON it is written straight from the journal: an entry of 32 MB, the most that journald takes from a user,
    // costs the reader nothing.
    '--output=export',
    `--output-fields=${FIELDS.join(',')}`,
    `--lines=${lines}`,
    ...(follow ? ['--follow'] : []),
    // What the server and its children wrote, and systemd's own child before it became the server.
    `_SYSTEMD_UNIT=${unit}`,
    ...only('_SYSTEMD_INVOCATION_ID'),
    '+',
    // What systemd says about it.
    '_PID=1',
    `UNIT=${unit}`,
    ...only('INVOCATION_ID'),
    '+',
    // What our spawner says about it.
    '_UID=0',
    `_SYSTEMD_UNIT=${SPAWNER_UNIT}`,
    `OBJECT_SYSTEMD_UNIT=${unit}`,
    ...only('METALHUB_INVOCATION_ID'),
  ];
}
