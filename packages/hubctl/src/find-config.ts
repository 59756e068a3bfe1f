import { MetalhubError } from '@metalhub/base/errors.js';
import { loadConfig } from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';

/** The configuration, for whoever leaves it to others to say that it is bad: then `undefined`. */
export function findConfig(): Config | undefined {
  try {
    return loadConfig();
  } catch (error) {
    if (error instanceof MetalhubError) return undefined;
    throw error;
  }
}
