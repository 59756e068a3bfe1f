import { isKey, isServerName } from '@metalhub/base/names.js';
import { boolean, guarded, integer, nullable, object, optional, type Shaped, text } from '@metalhub/base/shape.js';
import { defineProtocol } from './protocol.js';

/** hub → hub-logs: the journal of one user's server, and of nothing else. One request per connection. */

export const logLineShape = object({
  /** Milliseconds since the epoch. */
  time_ms: integer(0, Number.MAX_SAFE_INTEGER),
  /** 0 (emergency) to 7 (debug). */
  priority: integer(0, 7),
  /** SYSLOG_IDENTIFIER: the program that wrote it, e.g. `python3`, or `systemd`. */
  identifier: text({ max: 256 }),
  /** Without control characters, cut at 4096 characters. */
  message: text({ max: 4096 }),
});
export type LogLine = Shaped<typeof logLineShape>;

export const logsProtocol = defineProtocol({
  peer: 'hub-logs',
  path: '/run/metalhub/logs.sock',
  maxFrameBytes: 64 * 1024,
  maxPending: 1,
  requests: {
    /** One event per line, oldest first; answered after the last one, with `follow` never. */
    ReadServerLog: {
      params: object({
        key: guarded(isKey, 'a key'),
        server: guarded(isServerName, 'a server name'),
        /** Only this start of the server, 32 hex digits; null for all. */
        invocation_id: nullable(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
        /** How many of the last lines. */
        lines: integer(0, 10_000),
        follow: optional(boolean()),
      }),
      result: object({}),
      event: logLineShape,
    },
  },
});
export type LogsRequests = typeof logsProtocol.requests;
