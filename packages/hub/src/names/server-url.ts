import { isServerName, type ServerName } from '@metalhub/base/names.js';
import { isUserName, type UserName } from './user-name.js';

/**
 * A user's name as a path segment: UTF-8 percent-encoded except `A-Z a-z 0-9 _ . - ~ @`, hexadecimal in upper case.
 *
 * Jupyter compares its base URL with the raw request path and browsers send such a path unchanged, so the text is
 * compared, never decoded, from here to the server.
 * @see JupyterHub's `jupyterhub.utils.url_escape_path`
 */
export function encodeUserName(name: UserName): string {
  return encodeURIComponent(name)
    .replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%40', '@');
}

/** Path of a server with both slashes: `/user/anna/`, `/jupyter/user/anna/gpu/`. @param base of `public_url` */
export function serverPath(name: UserName, server: ServerName, base = ''): string {
  const user = `${base}/user/${encodeUserName(name)}/`;
  return server === '' ? user : `${user}${server}/`;
}

export interface ServerAddress {
  name: UserName;
  /** The first path segment after the user's, when it could name a server; whether it does is the caller's to know. */
  maybeServer: ServerName;
}

/** Takes `/user/<name>/…`, without a base, apart; `undefined` when the name is not written as {@link encodeUserName} writes it. */
export function findServerAddress(path: string): ServerAddress | undefined {
  const [, encoded = '', segment = ''] = /^\/user\/([^/?#]+)(?:\/([^/?#]*))?/.exec(path) ?? [];
  const name = decode(encoded);
  if (name === undefined || !isUserName(name) || encodeUserName(name) !== encoded) return undefined;
  return { name, maybeServer: isServerName(segment) ? segment : ('' as ServerName) };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
