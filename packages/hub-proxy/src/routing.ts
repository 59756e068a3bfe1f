import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import type { Config } from '@metalhub/config/schema.js';
import { MAX_ERROR_PAGE_BYTES, type Routing } from './settings.js';

const MAX_CA_BYTES = 1024 * 1024;
/** File names and the statuses they are for; 0 for all others. */
const ERROR_PAGES = [
  ['404.html', 404],
  ['502.html', 502],
  ['503.html', 503],
  ['error.html', 0],
] as const;

/**
 * Reads what the configuration names: error pages and the upstreams' certificates. What cannot be used is left out with an
 * error in the journal: a wrong page must not close the site.
 *
 * @param hasApi the TCP route API was handed over: there is another hub
 */
export function loadRouting({ proxy }: Config, hasApi: boolean, log: Log): Routing {
  return {
    foreign_hub: hasForeignHub({ proxy }, hasApi),
    upstream_ranges: hasApi ? [...proxy.upstream_ranges] : [],
    upstream_ca: proxy.upstream_ca === '' ? '' : (readOwned(proxy.upstream_ca, MAX_CA_BYTES, log) ?? ''),
    error_pages: proxy.error_pages === '' ? [] : loadErrorPages(proxy.error_pages, log),
    error_target: proxy.error_target,
  };
}

/** @param hasApi the TCP route API was handed over */
export function hasForeignHub({ proxy }: Pick<Config, 'proxy'>, hasApi: boolean): boolean {
  return hasApi && proxy.default_route === 'auto';
}

function loadErrorPages(directory: string, log: Log): Routing['error_pages'] {
  return ERROR_PAGES.flatMap(([name, status]) => {
    const html = readOwned(join(directory, name), MAX_ERROR_PAGE_BYTES, log, true);
    return html === undefined ? [] : [{ status, html }];
  });
}

/** Only what root alone may write: it is shown to everybody, or decides whom the proxy believes. */
function readOwned(path: string, maxBytes: number, log: Log, isOptional = false): string | undefined {
  const refuse = (reason: string): undefined => {
    log.error('a file that the configuration names cannot be used', { file: path, reason });
    return undefined;
  };
  try {
    const { uid, mode, size } = statSync(path);
    if (uid !== 0 || (mode & 0o022) !== 0) return refuse('it must belong to root, and nobody else may write it');
    if (size > maxBytes) return refuse(`it is larger than ${maxBytes} bytes`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = systemErrorCode(error);
    return isOptional && code === 'ENOENT' ? undefined : refuse(code ?? errorText(error));
  }
}
