import type { ProfileVariant } from './spawner-config.js';

/** What was chosen in the server's profile: a command beside the server gets the same. */
export const VARIANT_VARIABLE = 'METALHUB_VARIANT';

/** As text for the variable: the override, then the options, as `guests,size=small`. */
export function formatVariant({ override = '', choices = {} }: ProfileVariant): string {
  return [override, ...Object.entries(choices).map(([choice, option]) => `${choice}=${option}`)].join(',');
}

/** Of what {@link formatVariant} made. */
export function parseVariant(text: string): ProfileVariant {
  const [override, ...options] = text.split(',');
  return {
    override: override || undefined,
    choices: Object.fromEntries(options.map((entry) => entry.split('=', 2) as [string, string])),
  };
}
