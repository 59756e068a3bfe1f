import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { loadConfig } from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';

/** The configuration in force. A reload replaces it as a whole, or not at all. */
export class ConfigHolder {
  #current: Config;
  readonly #load: () => Config;

  /** @throws {MH_ERR_CONFIG_SYNTAX} {MH_ERR_CONFIG_UNKNOWN_KEY} {MH_ERR_CONFIG_VALUE} {MH_ERR_CONFIG_FILE} */
  constructor(load: () => Config = () => loadConfig()) {
    this.#load = load;
    this.#current = load();
  }

  get current(): Config {
    return this.#current;
  }

  /** @returns false when the new one is bad and the old one stays */
  reload(log: Log): boolean {
    try {
      this.#current = this.#load();
      log.notice('configuration loaded again');
      return true;
    } catch (error) {
      const hint = error instanceof MetalhubError ? error.hint : undefined;
      const fields = { reason: errorText(error), err: error, ...(hint !== undefined && { hint }) };
      log.error('new configuration refused, the old one stays in force', fields);
      return false;
    }
  }
}
