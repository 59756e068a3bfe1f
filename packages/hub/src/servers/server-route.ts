import { MetalhubError } from '@metalhub/base/errors.js';
import { type ServerName, serverId, serverSocketPath } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { RouteRequest } from '@metalhub/wire/proxy-api.js';
import type { User } from '../db/tables/users.js';
import type { RouteReconciler } from '../routes/route-reconciler.js';
import type { ServerTokens } from '../tickets/server-token.js';
import type { ServerServices } from './server-services.js';
import type { Run } from './server-state.js';

/** So long a server that runs is kept from being called ready while the proxy does not answer, as when it is being restarted. */
const ROUTE_PATIENCE_MS = 30 * SECOND_MS;
const ROUTE_PAUSE_MS = 500;

/**
 * The way to a server that runs. `undefined` for a unit that is known from the database only: which invocation it is, the
 * spawner will tell.
 */
export function serverRoute(
  { key, name }: User,
  server: ServerName,
  run: Run,
  tokens: ServerTokens,
): RouteRequest | undefined {
  if (run.invocationId === null) return undefined;
  return {
    target: `unix+http://${encodeURIComponent(serverSocketPath(serverId(key, server)))}`,
    auth: 'ticket',
    user: name,
    server,
    invocation_id: run.invocationId,
    token: tokens(key, server, run.startId),
  };
}

/**
 * Makes the route; false while the proxy cannot be asked. Also true when it says why there is no way, as with a full disk:
 * the user is told that at once, not in half a minute.
 */
async function isPublished(
  routes: Pick<RouteReconciler, 'publish' | 'request'>,
  path: string,
  route: RouteRequest,
): Promise<boolean> {
  try {
    await routes.publish(path, route);
    return true;
  } catch (error) {
    if (!(error instanceof MetalhubError) || error.code !== 'MH_ERR_PROXY_STATE') return false;
    // The reconciler tries again as long as it takes.
    routes.request();
    return true;
  }
}

/** Tries as long as it is wanted and the proxy may be about to answer. */
export async function publishPatiently(
  { routes, clock, sleep }: Pick<ServerServices, 'routes' | 'clock' | 'sleep'>,
  path: string,
  route: RouteRequest,
  isWanted: () => boolean,
): Promise<void> {
  const untilMs = clock.monotonicMs() + ROUTE_PATIENCE_MS;
  while (isWanted() && !(await isPublished(routes, path, route)) && clock.monotonicMs() < untilMs) {
    await sleep(ROUTE_PAUSE_MS);
  }
}
