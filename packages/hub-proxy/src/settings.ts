import { boolean, integer, list, object, optional, type Shaped, text } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { basePath } from '@metalhub/config/base-path.js';
import type { Config } from '@metalhub/config/schema.js';
import { edgeShape, makeEdgeSettings } from './edge-settings.js';
import { LOCAL_HOSTS } from './host.js';
import type { TlsMaterial } from './tls-material.js';

export const MAX_ERROR_PAGE_BYTES = 64 * 1024;

export const routingShape = object({
  /** Routes are those of another hub only; nothing leads to ours. */
  foreign_hub: boolean(),
  /** Addresses that routes may lead to, as 10.0.0.0/8. */
  upstream_ranges: list(text({ max: 64 }), 64),
  /** Certificates in PEM, or empty. */
  upstream_ca: text({ max: 1024 * 1024 }),
  /** Shown instead of the built-in ones; status 0 for all others. */
  error_pages: list(object({ status: integer(0, 599), html: text({ max: MAX_ERROR_PAGE_BYTES }) }), 16),
  /** Asked for error pages, or empty. */
  error_target: text({ max: 4096 }),
});
export type Routing = Shaped<typeof routingShape>;

export const NO_ROUTING: Routing = {
  foreign_hub: false,
  upstream_ranges: [],
  upstream_ca: '',
  error_pages: [],
  error_target: '',
};

/** What a worker needs of the configuration; sent to it once, at its start. */
export const settingsShape = object({
  /** Host names that are answered, in normal form. */
  hosts: list(text({ min: 1, max: 255 }), 200),
  /** `https://hub.example.org`, without a slash at its end or a default port. */
  public_origin: text({ min: 1, max: 400 }),
  public_host: text({ min: 1, max: 255 }),
  /** Everything of our own hub lies below it: `/jupyter`, or empty. Absent from an older supervisor, which knows none. */
  base_path: optional(text({ pattern: /^(?:\/[A-Za-z0-9._~-]+)*$/, max: 200 })),
  /** Cookies are marked Secure. */
  is_secure: boolean(),
  drain_timeout_ms: integer(0, 2 ** 31 - 1),
  /** Without a byte, before and in an answer; missing in what an older supervisor sends. */
  answer_timeout_ms: optional(integer(1, 2 ** 31 - 1)),
  stream_timeout_ms: optional(integer(1, 2 ** 31 - 1)),
  hub_socket_path: text({ min: 1, max: 107 }),
  /** Absent from a supervisor of the first version. */
  routing: optional(routingShape),
  edge: optional(edgeShape),
});
export type Settings = Shaped<typeof settingsShape>;

/** @param tls certificate and key in force, `null` when the configuration has none */
export function makeSettings(
  config: Config,
  hubSocketPath: string,
  tls: TlsMaterial | null,
  routing: Routing = NO_ROUTING,
): Settings {
  const publicUrl = new URL(config.public_url);
  const publicHost = publicUrl.hostname.toLowerCase();
  const configured = config.proxy.hosts.map((host) => host.toLowerCase().replace(/\.$/, ''));
  return {
    hosts: [...new Set([...LOCAL_HOSTS, publicHost, ...configured])],
    public_origin: publicUrl.origin,
    public_host: publicHost,
    base_path: basePath(config.public_url),
    is_secure: publicUrl.protocol === 'https:',
    drain_timeout_ms: config.proxy.drain_timeout_sec * SECOND_MS,
    answer_timeout_ms: config.proxy.answer_timeout_sec * SECOND_MS,
    stream_timeout_ms: config.proxy.stream_timeout_sec * SECOND_MS,
    hub_socket_path: hubSocketPath,
    routing,
    edge: makeEdgeSettings(config, tls),
  };
}
