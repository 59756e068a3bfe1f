import type { Duplex } from 'node:stream';
import type { ExchangeEnd, ExchangeOptions } from './exchange.js';
import { isNavigation, type Passed } from './gate.js';
import { NAVIGATION_FIELD, TARGET_FIELD } from './hub-forward.js';
import { type Answer, badGateway, gatewayTimeout, hubAway, nothingHere, redirect, serverAway } from './pages.js';
import { type Route, routeIdentity } from './proxy-state.js';
import type { RequestHead } from './request-head.js';
import type { Settings } from './settings.js';
import { isUnixTarget } from './target.js';

/** A request that may pass and is being forwarded, or the tunnel it became. */
export interface RequestWork {
  readonly head: RequestHead;
  readonly route: Route;
  readonly identity: string;
  readonly passed: Passed;
}

export function makeWork(head: RequestHead, route: Route, passed: Passed): RequestWork {
  return { head, route, identity: routeIdentity(route), passed };
}

/** Of a tunnel the head's text is not needed any more; a tunnel may live for days. */
export function tunnelWork({ head, route, identity, passed }: RequestWork): RequestWork {
  return { head: { ...head, target: '', path: '', query: '', fields: [] }, route, identity, passed };
}

/** Whether {@link HubForward} takes it. */
export function isThroughForward({ head, route }: RequestWork): boolean {
  const { auth, target } = route;
  return auth === 'upstream' && !head.isUpgrade && target.kind === 'unix' && target.base_path === undefined;
}

/**
 * For what requests a connection to the server may be used again: those of the same login to the same running server.
 * `undefined`: for none.
 */
export function upstreamKey({ identity, passed }: RequestWork): string | undefined {
  return passed.sessionId === undefined ? undefined : `${passed.sessionId} ${identity}`;
}

export function exchangeOptions(
  work: RequestWork,
  from: { client: Duplex; peer: string; proto: 'http' | 'https'; hsts: string | undefined; hubSocketPath: string },
): ExchangeOptions {
  const { head, route, passed } = work;
  const { auth, target } = route;
  const { client, peer, proto, hsts, hubSocketPath } = from;
  const isHub = isUnixTarget(target, hubSocketPath);
  const by = { peer, proto, isHub, closeUpstream: auth === 'upstream', extra: forwardFields(work) };
  const sent = target.base_path === undefined ? head : { ...head, target: `${target.base_path}${head.target}` };
  return { client, head: sent, route, by, setCookies: passed.setCookies, hsts };
}

const NO_FIELDS: readonly (readonly [string, string])[] = [];

function forwardFields(work: RequestWork): readonly (readonly [string, string])[] {
  const { target } = work.route;
  if (target.kind !== 'unix' || !isThroughForward(work)) return NO_FIELDS;
  return [
    [TARGET_FIELD, target.path],
    [NAVIGATION_FIELD, isNavigation(work.head) ? '1' : '0'],
  ];
}

/** What the client is told when no route takes the request. */
export function unroutedAnswer(head: RequestHead, { base_path: base = '', routing }: Settings): Answer {
  // Only another hub can be so slow to say where everything leads.
  if (base === '' || routing?.foreign_hub === true) return hubAway(isNavigation(head));
  const isRead = (head.method === 'GET' || head.method === 'HEAD') && !head.isUpgrade;
  return head.path === '/' && isRead ? redirect(`${base}/`) : nothingHere(isNavigation(head), base);
}

/** What the client is told when the upstream gave no answer. */
export function failureAnswer(
  { head, route }: RequestWork,
  kind: Exclude<ExchangeEnd['kind'], 'answered' | 'tunnel' | 'broken'>,
  settings: Settings,
): Answer {
  const { hub_socket_path: hubSocketPath, base_path: base = '' } = settings;
  const isPage = isNavigation(head);
  const isOfHub = isUnixTarget(route.target, hubSocketPath);
  if (kind === 'timeout' && !isOfHub) return gatewayTimeout(isPage, base);
  if (route.prefix === '/' || isOfHub) return hubAway(isPage);
  return kind === 'unreachable' ? serverAway(isPage, base) : badGateway(isPage, base);
}
