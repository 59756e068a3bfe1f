import type { Config } from './schema.js';

/** Whether nobody can log in: no `[[login]]`, or none that names users or groups under `allow`. */
export function isNobodyAllowed(config: Pick<Config, 'login'>): boolean {
  return config.login.every(({ allow }) => allow.users.length + allow.groups.length === 0);
}
