import { randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { DAY_MS } from '@metalhub/base/time.js';
import type { Config } from '@metalhub/config/schema.js';
import { writeFileAtomic } from '@metalhub/systemd/files.js';

/** What a worker needs to speak TLS. */
export interface TlsMaterial {
  /** Private key, certificate and chain. */
  readonly pem: string;
  /** 48 bytes in base64. */
  readonly ticketKey: string;
  /** When the key was made, milliseconds since the epoch. */
  readonly ticketKeyMs: number;
}

export interface TlsPlaces {
  /** Written by hub-proxy-tls, as root, from the configured files. */
  readonly installed: string;
  /** Shared by the generations, so that a visitor's session survives a restart; gone with a reboot. */
  readonly ticketKey: string;
}

export const TLS_PLACES: TlsPlaces = {
  installed: '/var/lib/metalhub/proxy-tls/current.pem',
  ticketKey: '/run/metalhub-proxy/tls-ticket-key',
};

/** Whoever gets hold of the key can read sessions that were taken up with it: it does not live longer than this. */
export const TICKET_KEY_LIFETIME_MS = DAY_MS;
const TICKET_KEY_BYTES = 48;

/**
 * Certificate and key that are installed; `null` when the configuration has none.
 * @throws {MH_ERR_TLS_NOT_INSTALLED} there are none, or the TLS library refuses them
 */
export async function loadTlsMaterial(config: Config, places: TlsPlaces, log: Log): Promise<TlsMaterial | null> {
  if (config.tls.cert_file === '') return null;
  try {
    const pem = readFileSync(places.installed, 'utf8');
    createSecureContext({ key: pem, cert: pem });
    return { pem, ...(await takeTicketKey(places.ticketKey, log)) };
  } catch (cause) {
    const hint = 'see: journalctl -u hub-proxy -n 20; hubctl config check says what is wrong with tls.cert_file';
    throw new MetalhubError('MH_ERR_TLS_NOT_INSTALLED', { details: { reason: errorText(cause) }, hint, cause });
  }
}

export function makeTicketKey(): Buffer {
  return randomBytes(TICKET_KEY_BYTES);
}

/** How much longer a key may be used. A clock that was set back does not make it live longer. */
export function ticketKeyLeftMs(madeMs: number, nowMs: number): number {
  return Math.min(TICKET_KEY_LIFETIME_MS, Math.max(0, madeMs + TICKET_KEY_LIFETIME_MS - nowMs));
}

type TicketKey = Pick<TlsMaterial, 'ticketKey' | 'ticketKeyMs'>;

async function takeTicketKey(path: string, log: Log): Promise<TicketKey> {
  const kept = readTicketKey(path);
  if (kept !== undefined) return kept;
  const key = makeTicketKey().toString('base64');
  try {
    await writeFileAtomic(path, key, { mode: 0o600 });
  } catch (error) {
    log.warning('no key for TLS sessions could be kept: visitors make new ones after a restart', {
      file: path,
      reason: errorText(error),
    });
  }
  return { ticketKey: key, ticketKeyMs: Date.now() };
}

function readTicketKey(path: string): TicketKey | undefined {
  try {
    const ticketKeyMs = Math.floor(statSync(path).mtimeMs);
    if (ticketKeyLeftMs(ticketKeyMs, Date.now()) === 0) return undefined;
    const ticketKey = readFileSync(path, 'utf8');
    return Buffer.from(ticketKey, 'base64').length === TICKET_KEY_BYTES ? { ticketKey, ticketKeyMs } : undefined;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
