import { boolean, integer, list, object, type Shaped, text } from '@metalhub/base/shape.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Config } from '@metalhub/config/schema.js';
import { LOCAL_HOSTS } from './host.js';

/** What a worker needs of the configuration; sent to it once, at its start. */
export const settingsShape = object({
  /** Host names that are answered, in normal form. */
  hosts: list(text({ min: 1, max: 255 }), 200),
  /** `https://hub.example.org`, without a slash at its end or a default port. */
  public_origin: text({ min: 1, max: 400 }),
  public_host: text({ min: 1, max: 255 }),
  /** Cookies are marked Secure. */
  is_secure: boolean(),
  drain_timeout_ms: integer(0, 2 ** 31 - 1),
  hub_socket_path: text({ min: 1, max: 107 }),
});
export type Settings = Shaped<typeof settingsShape>;

export function makeSettings(config: Config, hubSocketPath: string): Settings {
  const publicUrl = new URL(config.public_url);
  const publicHost = publicUrl.hostname.toLowerCase();
  const configured = config.proxy.hosts.map((host) => host.toLowerCase().replace(/\.$/, ''));
  return {
    hosts: [...new Set([...LOCAL_HOSTS, publicHost, ...configured])],
    public_origin: publicUrl.origin,
    public_host: publicHost,
    is_secure: publicUrl.protocol === 'https:',
    drain_timeout_ms: config.proxy.drain_timeout_sec * SECOND_MS,
    hub_socket_path: hubSocketPath,
  };
}
