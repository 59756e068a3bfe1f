import { IDENTITY_PATTERN, type Identity, isKey } from '@metalhub/base/names.js';
import { boolean, guarded, integer, list, nullable, object, oneOf, type Shaped, text } from '@metalhub/base/shape.js';
import { defineProtocol, noEvents } from './protocol.js';

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

/** Rows in one answer: the longest identities still fit into a frame. */
export const LEASES_PER_PAGE = 100;

/** Where an adopted uid was found: an account record, the home's owner, the administrator; or it is a new one. */
export const UID_SOURCES = ['record', 'owner', 'given', 'new'] as const;

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
  },
});
export type SpawnerAdminRequests = typeof spawnerAdminProtocol.requests;
