import { boolean, integer, list, object, optional, type Shaped, text, tolerant } from '@metalhub/base/shape.js';
import { defineProtocol, noEvents } from '@metalhub/wire/protocol.js';
import { countersShape } from './metrics-counters.js';
import { deltaShape, MAX_ROUTE_KEY, MAX_ROUTES } from './proxy-state.js';
import { settingsShape } from './settings.js';
import { parseState } from './state-format.js';

/** Supervisor → worker, also of earlier generations: one socket per worker below {@link GENERATION_DIRECTORY}. */
export const GENERATION_DIRECTORY = '/run/metalhub-proxy/gen';

/** That a supervisor keeps for workers that have not got them yet, and sends as differences. */
export const MAX_CHANGES = 4096;

/** Beside a worker's socket: the newest form of the state that it understands, as a number. Without it 1. */
export function formatFilePath(socketPath: string): string {
  return socketPath.replace(/\.sock$/, '.format');
}

const nothing = object({});
const epochMs = integer(0, Number.MAX_SAFE_INTEGER);

/** `prefix` is a route's key: with its host in front when it has one. */
export const routeActivityShape = object({ prefix: text({ max: MAX_ROUTE_KEY }), last_ms: epochMs });

export const generationReportShape = object({
  generation: integer(1, Number.MAX_SAFE_INTEGER),
  pid: integer(1, 2 ** 31),
  draining: boolean(),
  /** Milliseconds since the epoch, as the two below. */
  started_ms: epochMs,
  draining_since_ms: optional(epochMs),
  /** When it will close what is still open. */
  deadline_ms: optional(epochMs),
  connections: integer(0, 10_000_000),
  /** Upgraded connections, WebSockets. */
  tunnels: integer(0, 10_000_000),
  /** Its share of the memory that it uses: its own and a part of what it shares with others (PSS). */
  memory_bytes: optional(integer(0, Number.MAX_SAFE_INTEGER)),
  activity: list(routeActivityShape, MAX_ROUTES + 1),
  counters: optional(countersShape),
  rss_bytes: optional(integer(0, Number.MAX_SAFE_INTEGER)),
  open_fds: optional(integer(0, 10_000_000)),
  /** Of the state in force; far above what there may be, and below where numbers end. */
  state_version: optional(integer(0, 2 ** 50)),
});
export type WorkerReport = Shaped<typeof generationReportShape>;

/** With its place in its generation, which its supervisor knows; see WorkerName. */
export interface PlacedReport extends WorkerReport {
  readonly index: number;
}

/**
 * Supervisor and worker may be of different versions of the package: requests are only ever added, and what is added to
 * a message is optional, for the other side leaves out what it does not know. The state is sent in the form that the
 * worker says it understands ({@link formatFilePath}).
 */
export function generationProtocol(path: string) {
  return defineProtocol({
    peer: 'hub-proxy worker',
    path,
    maxFrameBytes: 64 * 1024 * 1024,
    maxPending: 16,
    requests: {
      /** Once, first: answered when the worker accepts connections. */
      Start: { params: object({ settings: settingsShape, state: parseState }), result: nothing, event: noEvents },
      /** Routes, keys and revocations from now on; what they no longer allow is closed before the answer. */
      SetState: { params: tolerant(object({ state: parseState })), result: nothing, event: noEvents },
      /**
       * What changed since the state of version `base`, in its order; not `applied` when the worker has another one. Only to
       * workers that understand form 2 of the state.
       */
      ChangeState: {
        params: tolerant(object({ base: integer(0, Number.MAX_SAFE_INTEGER), changes: list(deltaShape, MAX_CHANGES) })),
        result: object({ applied: boolean() }),
        event: noEvents,
      },
      /** No new connections; what is open may stay for so long after the *first* Drain. */
      Drain: {
        params: tolerant(object({ timeout_ms: integer(0, 2 ** 31 - 1) })),
        result: nothing,
        event: noEvents,
      },
      /** Everything is closed within the time given, WebSockets with code 1001; then the worker exits. */
      End: { params: tolerant(object({ within_ms: integer(0, 3_600_000) })), result: nothing, event: noEvents },
      Report: { params: tolerant(nothing), result: tolerant(generationReportShape), event: noEvents },
    },
  });
}
export type GenerationRequests = ReturnType<typeof generationProtocol>['requests'];
