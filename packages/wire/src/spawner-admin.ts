import { IDENTITY_PATTERN, type Identity, isKey } from '@metalhub/base/names.js';
import { boolean, guarded, integer, list, nullable, object, oneOf, type Shaped, text } from '@metalhub/base/shape.js';
import { defineProtocol, noEvents } from './protocol.js';
import { PROFILE_NAME_PATTERN } from './spawner.js';

/**
 * hubctl → hub-spawner: what an administrator may have done to accounts and homes, and the hub never. The socket is
 * another than the hub's, so that taking the hub over gives none of it.
 */

const isIdentity = (value: unknown): value is Identity => typeof value === 'string' && IDENTITY_PATTERN.test(value);

const key = guarded(isKey, 'a key');
const identity = guarded(isIdentity, 'an identity');
const uid = integer(1000, 4_294_967_293);
/** RFC 3339, UTC. */
const time = text({ pattern: /^[0-9T:.Z-]+$/, max: 32 });

export const leaseRowShape = object({
  key,
  /** `leased`; `released`: kept so that the uid is never given again; `unleased`: a home that no lease names. */
  state: oneOf('leased', 'released', 'unleased'),
  /** null when unleased. */
  uid: nullable(uid),
  /** null when unleased. */
  identity: nullable(identity),
  /** When the lease was given; null when unleased. */
  since: nullable(time),
  /** null unless released. */
  released: nullable(time),
  /** Something is where the key's home lies. */
  home: boolean(),
  /** A server of the key has a unit. */
  running: boolean(),
});
export type LeaseRow = Shaped<typeof leaseRowShape>;

/** null: that of a server of the user which runs, else the first one. */
const profile = nullable(text({ pattern: PROFILE_NAME_PATTERN, max: 63 }));
/** The name that sudo gave; nothing but the caller's word for it. */
const claimed = nullable(text({ pattern: /^[a-z_][a-z0-9_.-]*$/i, max: 64 }));
/** Of one command, chosen by the spawner; part of its unit's name. */
const id = text({ pattern: /^[0-9a-f]{8}$/, max: 8 });

/** Bytes of all words of a command together; what is longer goes through standard input. */
export const MAX_COMMAND_BYTES = 64 * 1024;
const MAX_WORDS = 8192;

/** How a command ended. */
const commandEnd = object({
  /** Of the command, or 128 and the number of the signal that ended it, as shells count. */
  status: integer(0, 255),
  /** systemd's word for it: `success`, `exit-code`, `signal`, `oom-kill` and others; `stopped` when its unit was stopped from elsewhere. */
  result: text({ pattern: /^[a-z-]{1,40}$/, max: 40 }),
});
export type CommandEnd = Shaped<typeof commandEnd>;

/**
 * `descriptors`: the spawner reads nothing more until it has got one byte with the descriptors: three for `Exec` (standard
 * input, output and error), one for `Shell` (a terminal, open for both). `started`: from now on it can be attached to.
 */
const commandEvent = object({ event: oneOf('descriptors', 'started'), id: nullable(id) });

/** Rows in one answer: the longest identities still fit into a frame. */
export const LEASES_PER_PAGE = 100;

/** Where an adopted uid was found: an account record, the home's owner, the administrator; or it is a new one. */
export const UID_SOURCES = ['record', 'owner', 'given', 'new'] as const;

/** Why a file was left as it is. */
export const LEFT_REASONS = ['hard-link', 'device', 'mount', 'immutable', 'too-deep'] as const;
export type LeftReason = (typeof LEFT_REASONS)[number];
/** So many of them are named, the others counted. */
export const MAX_LEFT = 50;
export const MAX_LEFT_PATH = 512;

const fileCount = integer(0, Number.MAX_SAFE_INTEGER);

/** What a pass over a home found and did. */
export const homePassShape = object({
  /** Files, directories, links and so on. */
  seen: fileCount,
  /** Given to the user; of a check those that would be. */
  changed: fileCount,
  /** Somebody else's, and left so. */
  left: fileCount,
  left_examples: list(
    object({
      /** Below the home; what is no UTF-8 is replaced, and long ones lose their beginning. */
      path: text({ max: MAX_LEFT_PATH }),
      reason: oneOf(...LEFT_REASONS),
    }),
    MAX_LEFT,
  ),
  duration_ms: fileCount,
});
export type HomePass = Shaped<typeof homePassShape>;

export const spawnerAdminProtocol = defineProtocol({
  peer: 'hub-spawner',
  path: '/run/metalhub/spawner-admin.sock',
  maxFrameBytes: 512 * 1024,
  maxPending: 4,
  requests: {
    /** Leases by uid, then homes without one; a page of them from `offset` on. */
    ListLeases: {
      params: object({ offset: integer(0, 10_000_000) }),
      result: object({
        leases: list(leaseRowShape, LEASES_PER_PAGE),
        /** Offset of the next page, null after the last. */
        next: nullable(integer(0, 10_000_000)),
        /** No lease is known although there are homes: new ones are refused. */
        lost: boolean(),
      }),
      event: noEvents,
    },
    /** Frees the key for another login. Its uid is never leased again. */
    ReleaseLease: {
      params: object({
        key,
        /** The caller vouches that the home is not merely on a disk that is not mounted. */
        home_is_gone: boolean(),
      }),
      result: object({ key, uid, identity }),
      event: noEvents,
    },
    /** Leases a uid to a key whose home exists already, of which the lease was lost, or that came from elsewhere. */
    AdoptHome: {
      params: object({
        key,
        identity,
        /** null: what the machine still knows of it, else a new one. */
        uid: nullable(uid),
      }),
      result: object({ key, uid, source: oneOf(...UID_SOURCES) }),
      event: noEvents,
    },
    /**
     * Runs a command in a unit of the user. Answered when it has ended, and all that it started with it. When the
     * connection ends, so does the command.
     */
    Exec: {
      params: object({
        key,
        profile,
        claimed,
        command: list(text({ pattern: /^[^\0]*$/, max: MAX_COMMAND_BYTES }), MAX_WORDS),
      }),
      result: commandEnd,
      event: commandEvent,
    },
    /** Like `Exec` with the user's login shell, on a terminal of the caller's. */
    Shell: {
      params: object({ key, profile, claimed, term: text({ pattern: /^[A-Za-z0-9][A-Za-z0-9+._-]*$/, max: 64 }) }),
      result: commandEnd,
      event: commandEvent,
    },
    /** Waits for a command again, after the connection was lost because the spawner was restarted. */
    AttachCommand: {
      params: object({ key, id }),
      result: commandEnd,
      event: noEvents,
    },
    /** Sends a signal to all processes of a command. */
    SignalCommand: {
      params: object({ key, id, signal: oneOf('SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT') }),
      result: object({}),
      event: noEvents,
    },
    /** Gives everything in a home to its user, or looks what would be given. May take minutes. */
    FixHome: {
      params: object({ key, check: boolean() }),
      result: object({
        key,
        /** `mapped`: the user sees what belongs to nobody on the disk as theirs; `owned`: it belongs to them. */
        kind: oneOf('mapped', 'owned'),
        pass: homePassShape,
      }),
      event: noEvents,
    },
  },
});
export type SpawnerAdminRequests = typeof spawnerAdminProtocol.requests;
