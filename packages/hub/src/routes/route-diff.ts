import type { RouteReport, RouteRequest } from '@metalhub/wire/proxy-api.js';

export interface RouteDiff {
  /** Missing, or leading somewhere else. */
  readonly put: readonly string[];
  readonly remove: readonly string[];
}

/**
 * What to change so that the proxy has the routes of the users' servers, and no others below a `/user/`, whatever `public_url` says.
 * @param isProtected keeps a route that is not wanted
 */
export function diffRoutes(
  wanted: ReadonlyMap<string, RouteRequest>,
  actual: ReadonlyMap<string, RouteReport>,
  isProtected: (prefix: string, report: RouteReport) => boolean,
): RouteDiff {
  // What another hub made is not ours to judge.
  const ours = new Map([...actual].filter(([, { owner }]) => owner === 'hub'));
  const put = [...wanted].filter(([prefix, route]) => !isSame(route, ours.get(prefix))).map(([prefix]) => prefix);
  const remove = [...ours]
    .filter(([prefix, report]) => prefix.includes('/user/') && !wanted.has(prefix) && !isProtected(prefix, report))
    .map(([prefix]) => prefix);
  return { put, remove };
}

/** Tokens are not reported; they differ only when the invocation does. */
function isSame(route: RouteRequest, report: RouteReport | undefined): boolean {
  return (
    report !== undefined &&
    report.target === route.target &&
    report.auth === (route.auth ?? 'upstream') &&
    report.user === (route.user ?? null) &&
    report.server === (route.server ?? null) &&
    report.invocation_id === (route.invocation_id ?? null)
  );
}
