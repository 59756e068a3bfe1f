import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { ajvOptions, schemas } from './validator-input.js';

const compiled: Partial<Record<keyof typeof schemas, ValidateFunction>> = {};

/**
 * The first mistake in a table. Fills in defaults in place.
 *
 * In the programs this module is replaced by the code that ajv makes of the schemas (scripts/lib/ahead-of-time.mjs):
 * compiling at each start took half of a login attempt's time, and 6 MB in each daemon.
 */
export function findMistake(what: keyof typeof schemas, table: unknown): ErrorObject | undefined {
  const validate = compiled[what] ?? new Ajv(ajvOptions).compile(schemas[what]);
  compiled[what] = validate;
  return validate(table) ? undefined : validate.errors?.[0];
}
