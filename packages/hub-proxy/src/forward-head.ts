import { isHubCookie, mayServerSetCookie, withoutHubCookies } from './cookies.js';
import { foldedName, NameMemo } from './header-fields.js';
import { hostText } from './host.js';
import type { Route } from './proxy-state.js';
import type { RequestHead } from './request-head.js';
import type { ResponseHead } from './response-head.js';

/** What the proxy adds to a request. */
export interface ForwardedBy {
  /** Address of the peer of the TCP connection. */
  readonly peer: string;
  readonly proto: 'http' | 'https';
  /** Whether the route leads to the hub itself, the only one that may see the hub's cookies. */
  readonly isHub: boolean;
  /** Asks the upstream to close after its answer. */
  readonly closeUpstream: boolean;
  /** Fields for the way inside this process, which no client can send. */
  readonly extra?: readonly (readonly [string, string])[];
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'upgrade',
  'transfer-encoding',
  'content-length',
]);
const REWRITTEN = /^(?:host|forwarded|x-forwarded.*|x-real-ip|x-scheme|x-metalhub-.*)$/;
// Spelled with an underscore these could be taken for what the proxy itself says or has checked.
const FOLDED_REFUSED =
  /^(?:cookie|authorization|origin|sec-fetch-.*|content-length|transfer-encoding|connection|upgrade)$/;

/** The head an upstream gets, in latin1. Method and target are the bytes received. */
export function formatRequestHead(head: RequestHead, route: Route, by: ForwardedBy): string {
  const lines = [`${head.method} ${head.target} HTTP/1.1`, `Host: ${hostText(head.host)}`];
  const isTicket = route.auth === 'ticket';
  for (const field of head.fields) {
    if (isDropped.get(field.lower) || head.connectionNamed.has(field.lower)) continue;
    if (field.lower === 'cookie' && !by.isHub) continue;
    if (field.lower === 'authorization' && isTicket) continue;
    lines.push(`${field.name}: ${field.value}`);
  }
  const cookie = by.isHub ? undefined : withoutHubCookies(head.fields);
  if (cookie !== undefined) lines.push(`Cookie: ${cookie}`);
  if (isTicket && route.token !== null) lines.push(`Authorization: token ${route.token}`);
  lines.push(
    `X-Forwarded-For: ${by.peer}`,
    `X-Forwarded-Proto: ${by.proto}`,
    `X-Forwarded-Host: ${hostText(head.host)}`,
    `X-Forwarded-Port: ${head.host.port ?? (by.proto === 'https' ? 443 : 80)}`,
    `X-Real-IP: ${by.peer}`,
    `X-Scheme: ${by.proto}`,
  );
  for (const [name, value] of by.extra ?? []) lines.push(`${name}: ${value}`);
  if (head.framing.kind === 'length') lines.push(`Content-Length: ${head.framing.length}`);
  else if (head.framing.kind === 'chunked') lines.push('Transfer-Encoding: chunked');
  // Some servers want a length of a request that could have a body.
  else if (!['GET', 'HEAD', 'DELETE', 'OPTIONS'].includes(head.method)) lines.push('Content-Length: 0');
  if (head.isUpgrade) lines.push('Connection: Upgrade', 'Upgrade: websocket');
  else if (by.closeUpstream) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** Fields of a request, by their lower-case names, that the proxy replaces or that end here. */
const isDropped = new NameMemo((lower) => {
  const folded = foldedName(lower);
  if (HOP_BY_HOP.has(folded) || REWRITTEN.test(folded)) return true;
  return folded !== lower && FOLDED_REFUSED.test(folded);
});

/** How the answer goes to the client. */
export interface AnswerOptions {
  readonly closeClient: boolean;
  /** Set-Cookie lines of the proxy's own. */
  readonly setCookies?: readonly string[];
  /** Strict-Transport-Security of the proxy's own; it then replaces the upstream's. */
  readonly hsts?: string | undefined;
  /** The chunks are taken off on the way; the end of the connection ends the body. */
  readonly unchunk?: boolean;
}

/** The head a client gets for an upstream's answer, in latin1. */
export function formatResponseHead(head: ResponseHead, route: Route, isHub: boolean, options: AnswerOptions): string {
  const lines = [`HTTP/1.1 ${head.status}${head.reason === '' ? '' : ` ${head.reason}`}`];
  const dropped = new Set(
    head.fields
      .filter(({ lower }) => lower === 'connection')
      .flatMap(({ value }) => value.toLowerCase().split(/[\s,]+/)),
  );
  const isSwitch = head.status === 101;
  for (const { name, lower, value } of head.fields) {
    const isLength =
      lower === 'content-length' && head.framing.kind === 'none' && head.status >= 200 && head.status !== 204;
    if ((HOP_BY_HOP.has(lower) || dropped.has(lower)) && !isLength) continue;
    if (!isHub && !isAllowedOf(route, lower, value)) continue;
    if (lower === 'strict-transport-security' && options.hsts !== undefined) continue;
    lines.push(`${name}: ${value}`);
  }
  for (const cookie of options.setCookies ?? []) lines.push(`Set-Cookie: ${cookie}`);
  if (options.hsts !== undefined) lines.push(`Strict-Transport-Security: ${options.hsts}`);
  if (head.framing.kind === 'length') lines.push(`Content-Length: ${head.framing.length}`);
  if (head.framing.kind === 'chunked' && options.unchunk !== true) lines.push('Transfer-Encoding: chunked');
  if (isSwitch) lines.push('Connection: Upgrade', 'Upgrade: websocket');
  else if (options.closeClient && head.status >= 200) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** A server speaks for its own path only, never for the site. */
function isAllowedOf(route: Route, lower: string, value: string): boolean {
  if (lower === 'set-cookie') {
    if (route.auth === 'ticket') return mayServerSetCookie(value, route.prefix);
    return !isHubCookie(value.split('=', 1)[0]?.trim() ?? '');
  }
  if (lower === 'clear-site-data') return false;
  if (lower === 'strict-transport-security') return route.auth !== 'ticket';
  // A scope needs no wider one than its script's path, and a browser resolves `..` in it.
  if (lower === 'service-worker-allowed') return route.auth !== 'ticket';
  return true;
}
