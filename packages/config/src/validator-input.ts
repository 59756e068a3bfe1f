import { configSchema } from './schema.js';

/** The schema is ours and constant: checking it against its own meta-schema takes longer than the rest. */
export const ajvOptions = {
  useDefaults: true,
  allErrors: false,
  strict: false,
  verbose: true,
  meta: false,
  validateSchema: false,
} as const;

/** What can be checked: a whole configuration, or its `login` tables alone. */
export const schemas = {
  config: configSchema,
  login: { type: 'object', properties: { login: configSchema.properties.login } },
} as const;
