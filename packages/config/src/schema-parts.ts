import { Type } from '@sinclair/typebox';

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

export const bytes = (description: string, fallback: string) =>
  Type.String({
    pattern: '^([0-9]{1,15}[KMGT]?)?$',
    default: fallback,
    description: `${description} Bytes, with K, M, G or T for powers of 1024; empty for no limit.`,
  });
