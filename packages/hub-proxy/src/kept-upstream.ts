import type { Route } from './proxy-state.js';
import { isRepeatable } from './request-head.js';
import type { RequestWork } from './request-work.js';
import type { UpstreamConnection } from './upstream-connection.js';
import type { UpstreamPool } from './upstream-pool.js';

interface Kept {
  readonly upstream: UpstreamConnection;
  readonly key: string;
  readonly auth: Route['auth'];
}

/** A client connection's own connection to the server of its last request. */
export class KeptUpstream {
  #kept: Kept | undefined;

  keep(upstream: UpstreamConnection, { upstreamKey: key, route }: RequestWork): void {
    if (key === undefined) upstream.destroy();
    else this.#kept = { upstream, key, auth: route.auth };
  }

  /**
   * What has carried a request with the same key before, of this client connection or from the pool. Anything else that was
   * kept is closed.
   * @param mayBeUsed false: it must be a new one
   */
  take(work: RequestWork, mayBeUsed: boolean, pool: UpstreamPool): UpstreamConnection | undefined {
    const key = mayBeUsed && mayUseAgain(work) ? work.upstreamKey : undefined;
    const kept = this.#kept;
    this.#kept = undefined;
    if (key !== undefined && kept?.key === key && kept.upstream.isUsable) return kept.upstream;
    kept?.upstream.destroy();
    return key === undefined ? undefined : pool.take(key);
  }

  /** The client connection is closed. @param pool for the requests to come, if there may be any */
  leave(pool: UpstreamPool | undefined, isStream: boolean): void {
    const kept = this.#kept;
    this.#kept = undefined;
    if (kept === undefined) return;
    // What only this client connection may use nobody else will, unless it is one stream of many.
    if (pool !== undefined && (kept.auth === 'ticket' || isStream)) pool.put(kept.key, kept.upstream);
    else kept.upstream.destroy();
  }
}

/**
 * A server may close an idle connection at the very moment when the next request goes out. Jupyter's leave theirs open for
 * longer than we keep one; of other hubs' servers that is not known, so they get only what may be asked again.
 */
function mayUseAgain({ head, route }: RequestWork): boolean {
  return route.auth === 'ticket' || isRepeatable(head);
}
