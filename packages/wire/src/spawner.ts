import { IDENTITY_PATTERN, type Identity, isKey, isServerName, type ServerName } from '@metalhub/base/names.js';
import {
  boolean,
  guarded,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  record,
  type Shaped,
  text,
} from '@metalhub/base/shape.js';
import { defineProtocol, noEvents } from './protocol.js';

/** hub → hub-spawner. The hub says who and which profile; what runs, as whom and in which sandbox is root's to say. */

const isIdentity = (value: unknown): value is Identity => typeof value === 'string' && IDENTITY_PATTERN.test(value);

const key = guarded(isKey, 'a key');
const server = guarded(isServerName, 'a server name');

export const PROFILE_NAME_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;
/** Percent-encoded path of a server, with both slashes and the base of public_url in front. It reaches the server inside its credential, never systemd. */
/** No `.` or `..` segment: a browser would resolve it away. */
export const BASE_URL_PATTERN =
  /^(?:\/(?!\.{1,2}\/)[A-Za-z0-9._~-]+)*\/user\/(?!\.{1,2}\/)(?:[A-Za-z0-9._~@-]|%[0-9A-F]{2})+\/(?:[a-z0-9-]+\/)?$/;

/** The part of it in front of `/user/`: the path that public_url had at the start, empty without one. */
const BASE_PATTERN = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~-]+)*$/;

/** The base of a path of {@link BASE_URL_PATTERN}. @param server whose path it is: a user or a server may be called `user` */
export function baseOf(baseUrl: string, server: ServerName): string {
  const user = server === '' ? baseUrl : baseUrl.slice(0, -`${server}/`.length);
  return user.replace(/\/user\/[^/]+\/$/, '');
}

export function isBase(text: string): boolean {
  return BASE_PATTERN.test(text);
}

const name = text({ pattern: PROFILE_NAME_PATTERN, max: 63 });

export const serverStatusShape = object({
  key,
  server,
  /** systemd's ActiveState of the unit; `inactive` also when it is not loaded. */
  active_state: oneOf(
    'active',
    'activating',
    'deactivating',
    'inactive',
    'failed',
    'reloading',
    'maintenance',
    'refreshing',
  ),
  /** 32 hex digits, changes with every start; null when not loaded. */
  invocation_id: nullable(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
  /** What the hub gave as `start_id`; from it the hub derives the server's token again. */
  start_id: nullable(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
  profile: nullable(text({ pattern: PROFILE_NAME_PATTERN, max: 63 })),
  /** Milliseconds since the epoch when the unit became active; null before. */
  started_at_ms: nullable(integer(0, Number.MAX_SAFE_INTEGER)),
  /** systemd's Result of the service: `success`, `exit-code`, `signal`, `timeout`, `oom-kill` and others. */
  result: nullable(text({ pattern: /^[a-z-]{1,40}$/, max: 40 })),
  /** Exit status or signal number of the main process, null while it runs. */
  exit_status: nullable(integer(0, 255)),
  /** Below which base it serves, as {@link baseOf} has it; absent when the unit is not loaded. */
  base: optional(text({ pattern: BASE_PATTERN, max: 4096 })),
  /** Whether something is at work in it with nobody looking, a kernel above all, as it says itself; null when it does not say. */
  busy: nullable(boolean()),
  /** Milliseconds since the epoch when something last was, as it says itself; null while it is busy, or does not say. */
  idle_since_ms: nullable(integer(0, Number.MAX_SAFE_INTEGER)),
  /** Milliseconds since the epoch when a program of it was last ended for want of memory, as it says itself; null for never. */
  out_of_memory_ms: nullable(integer(0, Number.MAX_SAFE_INTEGER)),
  /** Its processes stand still (FreezeUnit). */
  frozen: boolean(),
});
export type ServerStatus = Shaped<typeof serverStatusShape>;

/** The status of a server without a unit. @param last what is still known of its end */
export function absentStatus(
  { key, server }: Pick<ServerStatus, 'key' | 'server'>,
  last?: Pick<ServerStatus, 'result' | 'exit_status'>,
): ServerStatus {
  return {
    key,
    server,
    active_state: 'inactive',
    invocation_id: null,
    start_id: null,
    profile: null,
    started_at_ms: null,
    result: last?.result ?? null,
    exit_status: last?.exit_status ?? null,
    busy: null,
    idle_since_ms: null,
    out_of_memory_ms: null,
    frozen: false,
  };
}

/** What a server that runs may use; what is left out is as it was at its start. */
export const serverLimitsShape = object({
  memory_max_bytes: optional(integer(64 * 2 ** 20, 2 ** 50)),
  /** Processor time in percent of one core. */
  cpu_quota_percent: optional(integer(1, 100_000)),
  tasks_max: optional(integer(16, 4_000_000)),
});
export type ServerLimits = Shaped<typeof serverLimitsShape>;

/** What is being done, in this order; the hub turns each into a sentence. `repair` only when files in the home need it. */
export const START_STAGES = ['account', 'home', 'repair', 'unit', 'waiting'] as const;

export const spawnerProtocol = defineProtocol({
  peer: 'hub-spawner',
  path: '/run/metalhub/spawner.sock',
  maxFrameBytes: 64 * 1024,
  maxPending: 256,
  requests: {
    /** Answered when the start job has ended. A server that runs already is answered at once, with its own start_id. */
    StartServer: {
      params: object({
        key,
        server,
        identity: guarded(isIdentity, 'an identity'),
        profile: name,
        /** Name of the profile's override that counts for this user. */
        override: optional(name),
        /** What the user chose: names of options by the name of the choice. */
        choices: optional(record(PROFILE_NAME_PATTERN, name, 10)),
        /** Names of the kernels and kernel roots that this user is offered; none when it is left out. */
        kernels: optional(list(name, 200)),
        start_id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
        token: text({ pattern: /^[A-Za-z0-9_-]{43}$/, max: 43 }),
        base_url: text({ pattern: BASE_URL_PATTERN, max: 4096 }),
      }),
      result: serverStatusShape,
      event: object({ stage: oneOf(...START_STAGES) }),
    },
    /** Answered when the unit is gone. A start under way is cancelled. A server that does not run is fine. */
    StopServer: {
      params: object({ key, server }),
      result: serverStatusShape,
      event: noEvents,
    },
    /** Changes what a server that runs may use, up to what root's configuration allows; nothing else of it changes. */
    SetLimits: {
      params: object({
        key,
        server,
        start_id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
        limits: serverLimitsShape,
      }),
      result: object({}),
      event: noEvents,
    },
    /** Lets the processes of a server stand still, answered when they do. One that does already is fine. */
    Freeze: {
      params: object({ key, server }),
      result: serverStatusShape,
      event: noEvents,
    },
    Thaw: {
      params: object({ key, server }),
      result: serverStatusShape,
      event: noEvents,
    },
    Status: {
      params: object({ key, server }),
      result: serverStatusShape,
      event: noEvents,
    },
    List: {
      params: object({}),
      result: object({ servers: list(serverStatusShape, 10_000) }),
      event: noEvents,
    },
    /** Never answered: one event per server at first (the snapshot), then one per change. */
    Watch: {
      params: object({}),
      result: object({}),
      event: object({ change: oneOf('snapshot', 'snapshot-end', 'changed'), server: nullable(serverStatusShape) }),
    },
  },
});
export type SpawnerRequests = typeof spawnerProtocol.requests;
