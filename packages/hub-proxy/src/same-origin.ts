import { findField } from './header-fields.js';
import { hostText } from './host.js';
import type { RequestHead } from './request-head.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Whether a request that changes something, or opens a WebSocket, comes from a page of this site. The cookie alone says
 * only whose browser it is.
 *
 * @param proto of the address the visitor uses
 * @param publicOrigin as configured; the one origin that counts besides that of the request's own Host
 */
export function isFromThisSite(head: RequestHead, proto: 'http' | 'https', publicOrigin: string): boolean {
  if (!head.isUpgrade && SAFE_METHODS.has(head.method)) return true;
  const origin = findField(head.fields, 'origin');
  const site = findField(head.fields, 'sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  if (origin === undefined) return site !== undefined;
  return origin === publicOrigin || origin === ownOrigin(head, proto);
}

/** A browser leaves the scheme's own port out of Origin, and of Host. */
function ownOrigin(head: RequestHead, proto: 'http' | 'https'): string {
  const { name, port } = head.host;
  const isDefaultPort = port === (proto === 'https' ? 443 : 80);
  return `${proto}://${isDefaultPort ? name : hostText(head.host)}`;
}
