import { readFile } from 'node:fs/promises';
import { systemErrorCode } from '@metalhub/base/errors.js';
import { CONFIG_FILE, DROP_IN_DIRECTORIES, loadConfig, readSources } from '@metalhub/config/load.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { runIsFull } from './credentials.js';
import { isProgram } from './hooks.js';
import { requireRootOwned } from './root-owned.js';
import { CONFIG_EXTRACT, type SpawnerConfig } from './spawner-config.js';
import { extractOf } from './spawner-extract.js';
import { profileUnits } from './unit-file.js';

const EXIT_CONFIG = 78;

/**
 * hub-spawner-config: run by hub-spawner.service before its start and at its reload, in the same sandbox. Checks who can
 * write the configuration, reads it, and hands the spawner's part over as JSON. A bad file leaves the old extract.
 *
 * With `--units` it only prints the sandboxes of profiles as unit files, for `hubctl config check`.
 */
async function main(): Promise<void> {
  if (process.argv[2] === '--units') {
    process.stdout.write(`${JSON.stringify(profileUnits(extractOf(loadConfig()).profile))}\n`);
    return;
  }

  const sources = readSources(CONFIG_FILE, DROP_IN_DIRECTORIES);
  for (const path of [CONFIG_FILE, ...DROP_IN_DIRECTORIES, ...sources.map(({ file }) => file)]) requireRootOwned(path);
  const extract = extractOf(loadConfig());
  for (const program of hookPrograms(extract)) requireRootOwned(program);
  await store(`${JSON.stringify(extract, null, 2)}\n`);
}

/** What is there already needs no room: with a full /run the spawner still comes back, and stops what fills it. */
async function store(extract: string): Promise<void> {
  if ((await readFile(CONFIG_EXTRACT, 'utf8').catch(() => '')) === extract) return;
  try {
    await writeFileAtomic(CONFIG_EXTRACT, extract, { mode: 0o600 });
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOSPC') throw cause;
    throw runIsFull(cause);
  }
}

/** Whoever could write to one would run in everybody's sandbox. */
function hookPrograms({ profile }: SpawnerConfig): string[] {
  const settings = profile.flatMap(({ settings, overrides, choices }) => [
    settings,
    ...overrides.map(({ changes }) => changes),
    ...choices.flatMap(({ options }) => options.map(({ changes }) => changes)),
  ]);
  return settings
    .flatMap(({ before_start = [], after_stop = [] }) => [...before_start, ...after_stop])
    .filter(isProgram);
}

main().catch((err: unknown) => {
  createLog({ identifier: 'hub-spawner' }).critical('configuration refused', { err });
  process.exitCode = EXIT_CONFIG;
});
