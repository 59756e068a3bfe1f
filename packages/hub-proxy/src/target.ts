import {
  boolean,
  integer,
  object,
  oneOf,
  optional,
  type Shape,
  type Shaped,
  ShapeError,
  text,
} from '@metalhub/base/shape.js';

/** Where a route leads: a socket that systemd made on this machine, or a server behind TCP. */

/** In front of the request's path; canonical, without a slash at its end. */
const basePath = optional(text({ pattern: /^(?:\/(?:[A-Za-z0-9\-._~!$&'()*+=:@]|%[0-9A-F]{2})+)+$/, max: 2048 }));

export const unixTargetShape = object({
  kind: oneOf('unix'),
  path: text({ pattern: /^\/[^\0]*$/, max: 107 }),
  base_path: basePath,
});
export type UnixTarget = Shaped<typeof unixTargetShape>;

export const tcpTargetShape = object({
  kind: oneOf('tcp'),
  /** A name, or an address without brackets; lower case. */
  host: text({ pattern: /^[0-9a-z][0-9a-z.:-]*$|^::[0-9a-f:.]*$/, max: 253 }),
  port: integer(1, 65_535),
  /** Encrypted, with the certificate and its name checked. */
  tls: boolean(),
  base_path: basePath,
});
export type TcpTarget = Shaped<typeof tcpTargetShape>;

export type Target = UnixTarget | TcpTarget;

export const targetShape: Shape<Target> = (value, path) => {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  if (kind === 'unix') return unixTargetShape(value, path);
  if (kind === 'tcp') return tcpTargetShape(value, path);
  throw new ShapeError(`${path}: expected a target of kind unix or tcp`);
};

/** `unix+http://%2Frun%2Fx.sock`, `http://127.0.0.1:8888`, `https://[::1]:8888/base`. */
export function formatTarget(target: Target): string {
  const base = target.base_path ?? '';
  if (target.kind === 'unix') return `unix+http://${encodeURIComponent(target.path)}${base}`;
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return `${target.tls ? 'https' : 'http'}://${host}:${target.port}${base}`;
}

export function isUnixTarget(target: Target, path: string): boolean {
  return target.kind === 'unix' && target.path === path;
}
