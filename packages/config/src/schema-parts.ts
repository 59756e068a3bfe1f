import { Type } from '@sinclair/typebox';
import { BYTES_PATTERN } from './bytes.js';

/** What several tables of the schema are made of. */

export const closed = { additionalProperties: false } as const;

export const nameList = (description: string) =>
  Type.Array(Type.String({ minLength: 1, maxLength: 256 }), { default: [], maxItems: 1000, description });

export const allowTable = (description: string) =>
  Type.Object(
    {
      users: nameList('Login names.'),
      groups: nameList('Groups of the machine, standing for their members.'),
    },
    { ...closed, default: {}, description },
  );

export const roleList = (description: string) =>
  Type.Array(Type.String({ pattern: '^(admin|user)$' }), { default: [], maxItems: 2, description });

/** Who is offered something. */
export const offerTable = (description: string) =>
  Type.Object(
    {
      users: nameList('Login names.'),
      groups: nameList('Groups of the machine, standing for their members.'),
      roles: roleList('Roles in the hub: admin, as hub.admins says it, or user, which everybody is.'),
    },
    { ...closed, default: {}, description },
  );

export const bytes = (description: string, fallback: string) =>
  Type.String({
    pattern: BYTES_PATTERN,
    default: fallback,
    description: `${description} Bytes, with K, M, G or T for powers of 1024; empty for no limit.`,
  });

export const IDLE_TIMEOUT =
  'Seconds after which a server that nobody uses is stopped: no request, no open page, no kernel or terminal at work; 0 for never.';
export const MAX_AGE =
  'Seconds that a server may run; then it is stopped, whatever it does. Its user is warned ten minutes before, or in the last quarter of a shorter time. 0 for no limit.';

/** A time after which servers end; in profiles without a default. */
export const lifeLimit = (description: string, fallback?: number) =>
  Type.Integer({
    minimum: 0,
    maximum: 31_536_000,
    ...(fallback !== undefined && { default: fallback }),
    description,
  });
