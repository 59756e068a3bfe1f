import type { Route } from './proxy-state.js';

/** What lies behind a route, for metrics. `none`: no route took the request, or it was refused before one was looked for. */
export const ROUTE_KINDS = ['hub', 'service', 'server', 'none'] as const;
export type RouteKind = (typeof ROUTE_KINDS)[number];

/** Told by the way JupyterHub lays out its paths, so it holds for a foreign hub with a base path, too. */
export function routeKind({ auth, prefix }: Pick<Route, 'auth' | 'prefix'>): RouteKind {
  if (auth === 'ticket' || prefix.includes('/user/')) return 'server';
  return prefix.includes('/services/') ? 'service' : 'hub';
}
