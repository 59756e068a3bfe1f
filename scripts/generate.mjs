// Writes what is derived from the sources: the sample configuration, its reference and man page, the list of errors.
// With --check it writes nothing and fails when a file is not current. Needs the compiled packages (tsc -b).
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ERROR_MESSAGES } from '@metalhub/base/errors.js';
import { renderManPage, renderReference, renderSample } from '@metalhub/config/document.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

const AREAS = {
  INTERNAL: 'Anything unexpected; the journal of the daemon has the details',
  BUSY: 'Limits',
  CONFIG: 'Configuration',
  WIRE: 'Between the daemons',
  SYSTEMD: 'systemd and the C library',
  SPAWN: "Starting and stopping users' servers",
  PAM: 'Passwords',
  LOGS: 'Reading the journal',
  TLS: 'Certificates',
  PROXY: 'The proxy',
  HUB: 'The hub',
  CLI: 'hubctl',
};

function renderErrors() {
  const parts = [
    '# Errors',
    'Generated from the catalogue in `packages/base`. A code is the same in the journal (`journalctl METALHUB_ERROR=<code>`), ' +
      'in answers of the API and in `hubctl --json`; it is never reused for another meaning.',
  ];
  for (const [area, title] of Object.entries(AREAS)) {
    const rows = Object.entries(ERROR_MESSAGES).filter(([code]) => code.split('_')[2] === area);
    if (rows.length === 0) continue;
    const lines = rows.map(([code, text]) => `| \`${code}\` | ${text.replaceAll('|', '\\|')} |`);
    parts.push(`## ${title}`, ['| code | text |', '| --- | --- |', ...lines].join('\n'));
  }
  const missing = Object.keys(ERROR_MESSAGES).filter((code) => !(code.split('_')[2] in AREAS));
  if (missing.length > 0) throw new Error(`no area for ${missing.join(', ')}: add it in scripts/generate.mjs`);
  return `${parts.join('\n\n')}\n`;
}

const files = {
  'packages/config/metalhub.toml': renderSample(),
  'docs/config.md': renderReference(),
  'docs/man/metalhub.toml.5': renderManPage(),
  'docs/errors.md': renderErrors(),
};

const stale = Object.entries(files).filter(([path, text]) => {
  try {
    return readFileSync(join(root, path), 'utf8') !== text;
  } catch {
    return true;
  }
});
if (process.argv.includes('--check')) {
  for (const [path] of stale) console.error(`${path} is not current: run node scripts/generate.mjs`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const [path, text] of stale) writeFileSync(join(root, path), text);
}
