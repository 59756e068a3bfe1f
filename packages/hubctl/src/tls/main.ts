import { setTimeout as sleep } from 'node:timers/promises';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { loadConfig } from '@metalhub/config/load.js';
import type { Config } from '@metalhub/config/schema.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { installCertificate, isChanged, isInstalled } from './install.js';

/** Whoever renews a certificate writes several files, one after the other. */
const SETTLE_MS = 1000;
const MAX_SETTLE_ROUNDS = 20;

const log = createLog({ identifier: 'hub-proxy-tls' });

/**
 * Root's part of hub-proxy's TLS. `start` and `reload` are the unit's ExecStartPre= and ExecReload=: they check the
 * configured files and install them. `changed` is the ExecCondition= of hub-proxy-tls.service: it succeeds when a reload
 * would install something else.
 */
async function main(how: string | undefined): Promise<number> {
  const config = findConfig();
  // The proxy says itself what is wrong with it, and goes on with the last good one.
  if (config === undefined) return how === 'changed' ? 1 : 0;
  if (how === 'changed') return (await differsForGood(config)) ? 0 : 1;
  try {
    const done = await installCertificate(config.tls, Date.now());
    if (done === 'installed') log.notice('certificate installed', { file: config.tls.cert_file });
    return 0;
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    const consequence = isInstalled() ? 'the one of before stays in use' : 'there is none to serve with';
    log.error('the certificate cannot be used', { err: error, reason: error.message, consequence });
    // At the start the proxy decides: with the certificate of before it can serve.
    return how === 'start' ? 0 : 1;
  }
}

function findConfig(): Config | undefined {
  try {
    return loadConfig();
  } catch (error) {
    if (error instanceof MetalhubError) return undefined;
    throw error;
  }
}

/** Waits until nothing changes any more. */
async function differsForGood({ tls }: Config): Promise<boolean> {
  let before = isChanged(tls);
  for (let round = 0; round < MAX_SETTLE_ROUNDS; round++) {
    await sleep(SETTLE_MS);
    const now = isChanged(tls);
    if (now === before && now !== undefined) return now;
    before = now;
    if (tls.cert_file === '') return false;
  }
  // A file is gone or cannot be read: the reload says which.
  return true;
}

main(process.argv[2]).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    log.error('hub-proxy-tls failed', { err: error, reason: errorText(error) });
    process.exitCode = 1;
  },
);
