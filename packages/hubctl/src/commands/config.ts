import { CONFIG_FILE, DROP_IN_DIRECTORIES, loadConfig, readSources } from '@metalhub/config/load.js';
import { isNobodyAllowed } from '@metalhub/config/login-rules.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatConfig } from '../config-text.js';

export const configCheck: Command = {
  name: 'config check',
  operands: [],
  summary: 'check the configuration, naming file, line and key of a mistake',
  async run(context) {
    const config = loadConfig();
    const files = readSources(CONFIG_FILE, DROP_IN_DIRECTORIES).map((source) => source.file);
    const warnings = isNobodyAllowed(config)
      ? ['nobody may log in: no [[login]] with users or groups under allow']
      : [];
    print(context, { ok: true, files, warnings }, () =>
      [`${files.join(', ')}: no mistakes`, ...warnings.map((text) => `warning: ${text}`)].join('\n'),
    );
    return 0;
  },
};

export const configShow: Command = {
  name: 'config show',
  operands: [],
  summary: 'print the configuration in force, defaults filled in',
  async run(context) {
    const config = loadConfig();
    print(context, config, () => formatConfig(config).trimEnd());
    return 0;
  },
};
