import { boolean, integer, list, nullable, object, optional, type Shaped, text } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Config } from '@metalhub/config/schema.js';
import { canonicalAddress } from './listen-address.js';
import type { TlsMaterial } from './tls-material.js';

const timeout = optional(integer(1, 2 ** 31 - 1));
const count = optional(integer(1, 2 ** 31 - 1));

export const tlsShape = object({
  /** Private key, certificate and chain: PEM, one behind the other. */
  pem: text({ min: 1, max: 256 * 1024 }),
  /** 48 bytes in base64: with the same key every worker can take up the sessions of the others. */
  ticket_key: text({ min: 64, max: 64 }),
  /** When it was made, milliseconds since the epoch; a while later each worker goes on with a key of its own. */
  ticket_key_ms: optional(integer(0, Number.MAX_SAFE_INTEGER)),
  http2: boolean(),
  min_version: text({ pattern: /^1\.[23]$/, max: 3 }),
  hsts_max_age_sec: integer(0, 2 ** 31 - 1),
  /** Listening addresses, in the form of {@link canonicalAddress}, that answer with a redirect to the public address. */
  redirect_addresses: list(text({ max: 100 }), 32),
});
export type TlsSettings = Shaped<typeof tlsShape>;

/** Who is let in and how; everything may be missing, since an older supervisor may have sent it. */
export const edgeShape = object({
  tls: optional(nullable(tlsShape)),
  trusted_proxies: optional(list(text({ max: 60 }), 200)),
  header_bytes: count,
  header_fields: count,
  header_timeout_ms: timeout,
  idle_timeout_ms: timeout,
  body_timeout_ms: timeout,
  connections: count,
  connections_per_address: count,
  login_attempts_per_minute: count,
});
export type EdgeSettings = Shaped<typeof edgeShape>;

/** @param tls certificate and key in force, `null` when the configuration has none */
export function makeEdgeSettings(config: Config, tls: TlsMaterial | null): EdgeSettings {
  const { limits } = config;
  return {
    tls: tls && {
      pem: tls.pem,
      ticket_key: tls.ticketKey,
      ticket_key_ms: tls.ticketKeyMs,
      http2: config.tls.http2,
      min_version: config.tls.min_version,
      hsts_max_age_sec: config.tls.hsts_max_age_sec,
      redirect_addresses: config.tls.redirect_listen.map(canonicalAddress),
    },
    trusted_proxies: [...config.proxy.trusted_proxies],
    header_bytes: limits.header_bytes,
    header_fields: limits.header_fields,
    header_timeout_ms: limits.header_timeout_sec * SECOND_MS,
    idle_timeout_ms: limits.idle_timeout_sec * SECOND_MS,
    body_timeout_ms: limits.body_timeout_sec * SECOND_MS,
    connections: limits.connections,
    connections_per_address: limits.connections_per_address,
    login_attempts_per_minute: limits.login_attempts_per_minute,
  };
}
