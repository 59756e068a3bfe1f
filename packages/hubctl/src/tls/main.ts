import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorText } from '@metalhub/base/errors.js';
import type { Config } from '@metalhub/config/schema.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { findConfig } from '../find-config.js';
import { installCertificate, isChanged, isInstalled, readConfigured } from './install.js';

/** Whoever renews a certificate writes several files, one after the other. */
const SETTLE_MS = 1000;
const MAX_SETTLE_ROUNDS = 20;
const RELOAD = ['try-reload-or-restart', 'hub-proxy.service'];

const log = createLog({ identifier: 'hub-proxy-tls' });

/**
 * Root's part of hub-proxy's TLS. `start` and `reload` are the unit's ExecStartPre= and ExecReload=: they check the
 * configured files and install them. `changed` is the ExecCondition= of hub-proxy-tls.service: it succeeds when a reload
 * would install something else; `take-over` is its ExecStart=, which asks for that reload.
 */
async function main(how: string | undefined): Promise<number> {
  const config = findConfig();
  // The proxy says itself what is wrong with it, and goes on with the last good one.
  if (config === undefined) return how === 'changed' ? 1 : 0;
  if (how === 'changed') return (await differsForGood(config)) ? 0 : 1;
  if (how === 'take-over') return await takeOver(config);
  try {
    const done = await installCertificate(config.tls, Date.now());
    if (done === 'installed') log.notice('certificate installed', { file: config.tls.cert_file });
    return 0;
  } catch (error) {
    // A full or read-only disk, too, is no reason to keep the proxy from starting.
    const consequence = isInstalled() ? 'the one of before stays in use' : 'there is none to serve with';
    log.error('the certificate cannot be used', { err: error, reason: errorText(error), consequence });
    // At the start the proxy decides: with the certificate of before it can serve.
    return how === 'start' ? 0 : 1;
  }
}

/**
 * Lets the proxy reload until it was asked with the files as they are: systemd watches them again only when this has ended, and
 * does not look back.
 */
async function takeOver(config: Config): Promise<number> {
  for (;;) {
    const offered = readConfigured(config.tls);
    // It installs them itself, or says why not.
    const { status } = spawnSync('/usr/bin/systemctl', RELOAD, { stdio: 'inherit' });
    if (readConfigured(config.tls) === offered) return status ?? 1;
    await differsForGood(config);
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
