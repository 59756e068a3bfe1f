import { type TOptional, type TProperties, type TSchema, Type } from '@sinclair/typebox';
import { SETTINGS } from './profile-settings-schema.js';
import { closed, IDLE_TIMEOUT, lifeLimit, MAX_AGE, nameList, offerTable, roleList } from './schema-parts.js';

const NAME = '^[a-z0-9][a-z0-9_-]{0,62}$';
const shortName = (description: string, example: string) =>
  Type.String({ pattern: NAME, examples: [example], description });

type WithoutDefaults<P extends TProperties> = { [K in keyof P]: TOptional<P[K]> };

/** Described where it comes from, and not again in the reference. */
const isCopy = true;

/** The same keys, none of them needed: what is left out stays as it is elsewhere. */
function withoutDefaults<P extends TProperties>(properties: P): WithoutDefaults<P> {
  const bare = ({ default: _default, ...schema }: TSchema) => Type.Optional({ ...schema, isCopy } as TSchema);
  const entries = Object.entries(properties).map(([key, schema]) => [key, bare(schema)] as const);
  return Object.fromEntries(entries) as WithoutDefaults<P>;
}

/** Written as a table of its own, [[profile.choice]], and shown so in the reference. */
const isTable = true;
const CHANGES = withoutDefaults(SETTINGS);

export const overrideSchema = Type.Object(
  {
    name: shortName('Short name, unique in the profile.', 'staff'),
    users: nameList('Login names.'),
    groups: nameList('Groups of the machine, standing for their members.'),
    roles: roleList('Roles in the hub, as in allow.'),
    ...CHANGES,
  },
  closed,
);

export const optionSchema = Type.Object(
  {
    name: shortName('Short name, unique in the choice.', 'large'),
    title: Type.String({ minLength: 1, maxLength: 200, examples: ['8 GB'], description: 'What users see.' }),
    allow: offerTable('Who may take it. Everybody who may use the profile when empty.'),
    ...CHANGES,
  },
  closed,
);

export const choiceSchema = Type.Object(
  {
    name: shortName('Short name, unique in the profile.', 'size'),
    title: Type.String({ minLength: 1, maxLength: 200, examples: ['Size'], description: 'What users see.' }),
    option: Type.Array(optionSchema, {
      isTable,
      minItems: 1,
      maxItems: 50,
      description:
        'What can be chosen; the first that the user may take is chosen until they choose another. Beside name, title and allow each takes the keys of [[profile]] from python on, and replaces what the profile and its [[profile.override]] say; variables and mounts are added to theirs.',
    }),
  },
  closed,
);

export const profileSchema = Type.Object(
  {
    name: shortName('Short name, unique.', 'default'),
    title: Type.String({ default: 'JupyterLab', minLength: 1, maxLength: 200, description: 'What users see.' }),
    description: Type.String({ default: '', maxLength: 1000, description: 'A sentence for users, below the title.' }),
    allow: offerTable('Who may use it. Everybody who may log in when empty.'),
    idle_timeout_sec: Type.Optional(lifeLimit(`${IDLE_TIMEOUT} Without it server.idle_timeout_sec holds.`)),
    max_age_sec: Type.Optional(lifeLimit(`${MAX_AGE} Without it server.max_age_sec holds.`)),
    ...SETTINGS,
    override: Type.Array(overrideSchema, {
      isTable,
      default: [],
      maxItems: 100,
      description:
        'Other limits for some users. Of several that name a user, or a group or role of theirs, the first in the file counts, and no other. Takes the keys of [[profile]] from python on; variables and mounts are added to those of the profile.',
    }),
    choice: Type.Array(choiceSchema, {
      isTable,
      default: [],
      maxItems: 10,
      description: 'What users choose on the start page within the profile, as a size or an environment.',
    }),
  },
  closed,
);
