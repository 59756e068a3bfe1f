import { readFileSync } from 'node:fs';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { list, object, text } from '@metalhub/base/shape.js';
import {
  CONFIG_FILE,
  type ConfigSource,
  DROP_IN_DIRECTORIES,
  parseConfig,
  readSources,
} from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';

const copyShape = object({
  sources: list(object({ file: text({ max: 4096 }), text: text({ max: 1024 * 1024 }) }), 1000),
});

export interface ConfigPlaces {
  readonly file: string;
  readonly dropInDirectories: readonly string[];
  /** Where the last good configuration is kept, word for word. */
  readonly copy: string;
}

export const CONFIG_PLACES: ConfigPlaces = {
  file: CONFIG_FILE,
  dropInDirectories: DROP_IN_DIRECTORIES,
  copy: '/var/lib/metalhub/proxy/config-copy.json',
};

/**
 * The configuration as it stands in the files; a good one is kept for {@link loadConfigOrCopy}.
 * @throws {MH_ERR_CONFIG_SYNTAX} {MH_ERR_CONFIG_UNKNOWN_KEY} {MH_ERR_CONFIG_VALUE} {MH_ERR_CONFIG_FILE}
 */
export async function loadAndKeepConfig(places: ConfigPlaces, log: Log): Promise<Config> {
  const sources = readSources(places.file, places.dropInDirectories);
  const config = parseConfig(sources);
  await keepCopy(places.copy, sources, log);
  return config;
}

/**
 * For the start, when the proxy that served so far has already left: a bad file must not close the site.
 * @throws as {@link loadAndKeepConfig}, when there is no good copy either
 */
export async function loadConfigOrCopy(places: ConfigPlaces, log: Log): Promise<Config> {
  try {
    return await loadAndKeepConfig(places, log);
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    const copy = readCopy(places.copy);
    if (copy === undefined) throw error;
    log.critical('the configuration is not valid: running with the last good one', {
      err: error,
      hint: 'run "hubctl config check", correct the file, then "systemctl reload hub-proxy"',
    });
    return copy;
  }
}

/** Without a copy the proxy works as well; it only cannot survive the next mistake. */
async function keepCopy(path: string, sources: readonly ConfigSource[], log: Log): Promise<void> {
  const data = `${JSON.stringify({ sources })}\n`;
  try {
    if (readText(path) === data) return;
    await writeFileAtomic(path, data, { mode: 0o600 });
  } catch (error) {
    log.warning('no copy of the configuration could be kept', { file: path, reason: errorText(error) });
  }
}

function readCopy(path: string): Config | undefined {
  try {
    return parseConfig(copyShape(JSON.parse(readText(path) ?? ''), '').sources);
  } catch {
    return undefined;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
