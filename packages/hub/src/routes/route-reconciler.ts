import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import type { RouteReport, RouteRequest } from '@metalhub/wire/proxy-api.js';
import type { ProxyClient } from '../clients/proxy-client.js';
import type { Revocation } from '../db/tables/revocations.js';
import type { PublicTicketKey } from '../tickets/ticket-keys.js';
import { diffRoutes } from './route-diff.js';

export interface RouteReconcilerOptions {
  proxy: ProxyClient;
  wanted: () => ReadonlyMap<string, RouteRequest>;
  isProtected: (prefix: string, report: RouteReport) => boolean;
  keys: readonly PublicTicketKey[];
  /** All that still matter. */
  revocations: () => Promise<readonly Revocation[]>;
  log: Log;
}

const INTERVAL_MS = MINUTE_MS;
/** Of the changes in one request, which has to be answered in time. */
const MAX_AT_ONCE = 2000;
/** Of a comparison whose result was out of date before it arrived. */
const MAX_TRIES = 5;
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 10 * SECOND_MS;

/**
 * Keeps the proxy in step with the hub: routes, keys, ended sessions. The proxy keeps all of it itself over restarts of
 * either; what is compared here, once a minute and after every change, is in case one of the two lost something.
 */
export class RouteReconciler {
  readonly #options: RouteReconcilerOptions;
  /** One at a time: a comparison must not undo a change that it did not see. */
  #last: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  /** Process that has our keys and revocations. */
  #informedPid: number | undefined;
  #failure: string | undefined;
  #isClosed = false;

  constructor(options: RouteReconcilerOptions) {
    this.#options = options;
  }

  /** Why the proxy could not be reached the last time; `undefined` when it could. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Compares soon. */
  request(): void {
    this.#schedule(0);
  }

  /** Makes a route now. @throws {MH_ERR_PROXY_UNREACHABLE} */
  async publish(prefix: string, route: RouteRequest): Promise<void> {
    await this.#reporting(() => this.#options.proxy.putRoute(prefix, route));
  }

  /** Removes a route now, which ends what is open through it. @throws {MH_ERR_PROXY_UNREACHABLE} */
  async withdraw(prefix: string): Promise<void> {
    await this.#reporting(() => this.#options.proxy.deleteRoute(prefix));
  }

  /** Tells the proxy of sessions that ended; what it does not get now it gets with the next comparison. */
  revoke(revocations: readonly Revocation[]): void {
    if (revocations.length === 0) return;
    void this.#reporting(() => this.#push(revocations)).catch(() => {
      this.#informedPid = undefined;
      this.#schedule(this.#pauseMs);
    });
  }

  /** @returns how many routes had to be changed. @throws {MH_ERR_PROXY_UNREACHABLE} */
  async reconcile(): Promise<number> {
    return await this.#reporting(async () => {
      for (let tries = 1; ; tries++) {
        try {
          return await this.#compare();
        } catch (error) {
          const isStale = error instanceof MetalhubError && error.code === 'MH_ERR_PROXY_STALE';
          if (!isStale || tries >= MAX_TRIES) throw error;
        }
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #schedule(inMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#tick(), inMs); // it never rejects
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    try {
      await this.reconcile();
      this.#pauseMs = FIRST_PAUSE_MS;
      this.#schedule(INTERVAL_MS);
    } catch {
      this.#schedule(this.#pauseMs);
      this.#pauseMs = Math.min(2 * this.#pauseMs, MAX_PAUSE_MS);
    }
  }

  async #compare(): Promise<number> {
    const { proxy, wanted, isProtected, keys, revocations, log } = this.#options;
    const pid = await proxy.getPid();
    if (pid !== this.#informedPid) {
      await proxy.putKeys(keys);
      await this.#push(await revocations());
      this.#informedPid = pid;
    }
    const { routes: actual, etag } = await proxy.listRoutes();
    // Asked now, not before the listing: a server may have ended meanwhile.
    const current = wanted();
    const { put, remove } = diffRoutes(current, actual, isProtected);
    if (put.length + remove.length === 0) return 0;
    const added = put.flatMap((prefix) => {
      const route = current.get(prefix);
      return route === undefined ? [] : [{ prefix, route }];
    });
    for (let at = 0; at === 0 || at < added.length; at += MAX_AT_ONCE) {
      // Only the first can be stale: after it the proxy has what we know.
      const isFirst = at === 0;
      await proxy.changeRoutes(added.slice(at, at + MAX_AT_ONCE), isFirst ? remove : [], isFirst ? etag : undefined);
    }
    log.info('routes brought in step', { added: put.length, removed: remove.length });
    return put.length + remove.length;
  }

  async #push(revocations: readonly Revocation[]): Promise<void> {
    if (revocations.length === 0) return;
    // One request for all: each makes the proxy store its state.
    const requests = revocations.map(({ sessionId, untilMs }) => {
      return { session_id: sessionId, until: Math.ceil(untilMs / SECOND_MS) };
    });
    await this.#options.proxy.revoke(requests);
  }

  /** Queues the work and says once when the proxy goes away, and once when it is back. */
  #reporting<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.then(
      () => {
        if (this.#failure !== undefined) this.#options.log.info('hub-proxy is back');
        this.#failure = undefined;
      },
      (error: unknown) => {
        if (this.#failure === undefined)
          this.#options.log.warning('hub-proxy cannot be told of routes', { err: error });
        this.#failure = errorText(error);
        this.#informedPid = undefined;
      },
    );
    return result;
  }
}
