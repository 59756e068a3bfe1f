import { CONFIG_FILE, DROP_IN_DIRECTORIES, loadConfig, locateKey, readSources } from '@metalhub/config/load.js';
import { isNobodyAllowed } from '@metalhub/config/login-rules.js';
import { findGroup } from '@metalhub/systemd/accounts.js';
import { checkAccounts } from '../account-check.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { formatConfig } from '../config-text.js';
import { EXPOSURE_LIMIT, findExposures } from '../exposure.js';
import { checkKernels, findUnsafe } from '../kernel-check.js';
import { printable } from '../output.js';
import { checkProfiles, thisMachine } from '../profile-check.js';
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
    const sources = readSources(CONFIG_FILE, DROP_IN_DIRECTORIES);
    const files = sources.map((source) => source.file);
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
    const machine = thisMachine(hasGroup);
    const misfits = [
      ...(await checkAccounts(config, machine)),
      ...(await checkProfiles(config, machine)),
      ...(await checkKernels(config, { ...machine, findUnsafe })),
    ];
    for (const { isProblem, path, reason } of misfits) {
      (isProblem ? problems : warnings).push(`${locateKey(sources, path)}: ${reason}`);
    }
    const exposures = findExposures();
    if (exposures === undefined) warnings.push('hub-spawner-config cannot say how exposed profiles are');
    const profiles = exposures ?? [];
    for (const { profile, exposure } of profiles) {
      if (exposure > EXPOSURE_LIMIT) {
        warnings.push(`profile ${profile}: exposure ${exposure} is above ${EXPOSURE_LIMIT} (systemd-analyze security)`);
      }
    }
    print(context, { ok: problems.length === 0, files, problems, warnings, profiles }, () =>
      [
        `${files.join(', ')}: ${problems.length === 0 ? 'no mistakes' : 'does not fit this machine'}`,
        ...profiles.map(({ profile, exposure }) => `profile ${profile}: exposure ${exposure} of 10`),
        ...problems.map((text) => `problem: ${printable(text)}`),
        ...warnings.map((text) => `warning: ${printable(text)}`),
      ].join('\n'),
    );
    return problems.length === 0 ? 0 : EXIT_CONFIG;
  },
};

async function hasGroup(name: string): Promise<boolean> {
  return (await findGroup(name)) !== undefined;
}

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
