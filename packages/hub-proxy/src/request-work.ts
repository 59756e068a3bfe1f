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
  /** A connection to the server may be used again by requests with the same one only; `undefined`: by none. */
  readonly upstreamKey: string | undefined;
}

/** @param clientName of the connection it came on, see {@link Arrival} */
export function makeWork(head: RequestHead, route: Route, passed: Passed, clientName: string | undefined): RequestWork {
  const identity = routeIdentity(route);
  const owner = route.auth === 'ticket' ? passed.sessionId : isThroughForward(head, route) ? undefined : clientName;
  return { head, route, identity, passed, upstreamKey: owner === undefined ? undefined : `${owner} ${identity}` };
}

/** Of a tunnel the head's text is not needed any more; a tunnel may live for days. */
export function tunnelWork(work: RequestWork): RequestWork {
  return { ...work, head: { ...work.head, target: '', path: '', query: '', fields: [] } };
}

/** Whether {@link HubForward} takes it. */
export function isThroughForward(head: RequestHead, { auth, target }: Route): boolean {
  return auth === 'upstream' && !head.isUpgrade && target.kind === 'unix' && target.base_path === undefined;
}

export function exchangeOptions(
  work: RequestWork,
  from: { client: Duplex; peer: string; proto: 'http' | 'https'; hsts: string | undefined; hubSocketPath: string },
): ExchangeOptions {
  const { head, route, passed } = work;
  const { auth, target } = route;
  const { client, peer, proto, hsts, hubSocketPath } = from;
  const isHub = isUnixTarget(target, hubSocketPath);
  const by = {
    peer,
    proto,
    isHub,
    closeUpstream: auth === 'upstream' && work.upstreamKey === undefined,
    extra: forwardFields(work),
  };
  const sent = target.base_path === undefined ? head : { ...head, target: `${target.base_path}${head.target}` };
  return { client, head: sent, route, by, setCookies: passed.setCookies, hsts };
}

const NO_FIELDS: readonly (readonly [string, string])[] = [];

function forwardFields(work: RequestWork): readonly (readonly [string, string])[] {
  const { target } = work.route;
  if (target.kind !== 'unix' || !isThroughForward(work.head, work.route)) return NO_FIELDS;
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
