import { CONFIG_FILE, DROP_IN_DIRECTORIES, loadConfig, readSources } from '@metalhub/config/load.js';
import { isNobodyAllowed } from '@metalhub/config/login-rules.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatConfig } from '../config-text.js';
import { printable } from '../output.js';
import { checkCertificate } from '../tls/certificate.js';
import { readCertificateFiles } from '../tls/install.js';
import { findRangeProblems, readRangeFiles } from '../uid-range.js';

/** As for a file that cannot be read. */
const EXIT_CONFIG = 78;

export const configCheck: Command = {
  name: 'config check',
  operands: [],
  summary: 'check the configuration, naming file, line and key of a mistake',
  async run(context) {
    const config = loadConfig();
    // Others than root cannot read the key.
    if (config.tls.cert_file !== '' && process.getuid?.() === 0) {
      checkCertificate(readCertificateFiles(config.tls), Date.now());
    }
    const files = readSources(CONFIG_FILE, DROP_IN_DIRECTORIES).map((source) => source.file);
    const warnings = isNobodyAllowed(config)
      ? ['nobody may log in: no [[login]] with users or groups under allow']
      : [];
    const found = findRangeProblems(config.accounts, readRangeFiles()).map(({ state, text, fix }) => ({
      state,
      text: `uids ${config.accounts.uid_min}-${config.accounts.uid_max} for users: ${text}`,
      fix,
    }));
    const describe = (of: typeof found): string[] => of.map(({ text, fix }) => `${text} → ${fix}`);
    const problems = describe(found.filter(({ state }) => state === 'failed'));
    warnings.push(...describe(found.filter(({ state }) => state === 'warning')));
    print(context, { ok: problems.length === 0, files, problems, warnings }, () =>
      [
        `${files.join(', ')}: ${problems.length === 0 ? 'no mistakes' : 'does not fit this machine'}`,
        ...problems.map((text) => `problem: ${printable(text)}`),
        ...warnings.map((text) => `warning: ${printable(text)}`),
      ].join('\n'),
    );
    return problems.length === 0 ? 0 : EXIT_CONFIG;
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
