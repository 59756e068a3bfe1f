import { MetalhubError } from '@metalhub/base/errors.js';
import type { LiveState } from './live-state.js';
import {
  type Delta,
  isSameRoute,
  MAX_ROUTES,
  type PublicKey,
  type Revocation,
  type Route,
  routeKey,
} from './proxy-state.js';

/** What somebody wants changed; `undefined` of the functions here means that nothing would be. */
export type Change = Partial<Omit<Delta, 'version'>>;

/**
 * Of two hubs ours has the right of way.
 * @throws {MH_ERR_PROXY_ROUTE} there are too many
 */
export function putRoute(state: LiveState, route: Route): Change | undefined {
  const before = state.findRoute(routeKey(route));
  if (before === undefined && state.routeCount >= MAX_ROUTES) throw tooMany();
  return before !== undefined && isSameRoute(before, route) ? undefined : { put: [route] };
}

export function removeRoute(state: LiveState, key: string): Change | undefined {
  return state.findRoute(key) === undefined ? undefined : { remove: [key] };
}

/** Many at once; what is both put and removed is put. @throws {MH_ERR_PROXY_ROUTE} there are too many */
export function changeRoutes(
  state: LiveState,
  put: readonly Route[],
  removedKeys: readonly string[],
): Change | undefined {
  const wanted = new Map(put.map((route) => [routeKey(route), route]));
  const remove = [...new Set(removedKeys)].filter((key) => state.findRoute(key) !== undefined && !wanted.has(key));
  const different = [...wanted].filter(([key, route]) => {
    const before = state.findRoute(key);
    return before === undefined || !isSameRoute(before, route);
  });
  const added = different.filter(([key]) => state.findRoute(key) === undefined);
  if (state.routeCount - remove.length + added.length > MAX_ROUTES) throw tooMany();
  if (remove.length + different.length === 0) return undefined;
  return { remove, put: different.map(([, route]) => route) };
}

export function setKeys(state: LiveState, keys: readonly PublicKey[]): Change | undefined {
  return JSON.stringify(keys) === JSON.stringify(state.keys) ? undefined : { keys: [...keys] };
}

/** The later end wins when a session is revoked twice, and what is past is left out. */
export function addRevocations(
  state: LiveState,
  revocations: readonly Revocation[],
  nowSec: number,
): Change | undefined {
  const news = new Map<string, number>();
  for (const { session_id: id, until } of revocations) {
    if (until >= nowSec && until > (news.get(id) ?? state.findRevocation(id) ?? -1)) news.set(id, until);
  }
  return news.size === 0 ? undefined : { revoke: [...news].map(([session_id, until]) => ({ session_id, until })) };
}

function tooMany(): MetalhubError {
  return new MetalhubError('MH_ERR_PROXY_ROUTE', { details: { reason: 'too many routes' } });
}
