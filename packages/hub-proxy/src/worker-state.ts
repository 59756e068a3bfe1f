import type { Clock } from '@metalhub/base/time.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Activity } from './activity.js';
import type { HostList } from './host.js';
import { LiveState } from './live-state.js';
import type { OpenWork } from './open-work.js';
import {
  type Delta,
  defaultRoute,
  EMPTY_STATE,
  type ProxyState,
  type Route,
  routeIdentity,
  routeKey,
  routePlace,
} from './proxy-state.js';
import { RouteTable } from './route-table.js';
import type { TicketVerifier } from './ticket-verifier.js';
import { GOING_AWAY, POLICY_VIOLATION } from './websocket-frames.js';

export interface WorkerStateOptions {
  readonly hubSocketPath: string;
  /** Routes are those of another hub only. */
  readonly hasForeignHub: boolean;
  readonly hosts: HostList;
  readonly clock: Clock;
}

/** What a change of the state has to reach. */
export interface StateParts {
  readonly tickets: TicketVerifier;
  readonly work: OpenWork;
  readonly activity: Activity;
}

/** A worker's copy of what the supervisor stores. */
export class WorkerState {
  #live = new LiveState({ ...EMPTY_STATE, version: -1 });
  #table: RouteTable;
  readonly #options: WorkerStateOptions;

  constructor(options: WorkerStateOptions) {
    this.#options = options;
    this.#table = this.#makeTable();
  }

  get table(): RouteTable {
    return this.#table;
  }

  get version(): number {
    return this.#live.version;
  }

  isRevoked(sessionId: string): boolean {
    const untilSec = this.#live.findRevocation(sessionId);
    return untilSec !== undefined && untilSec >= this.#options.clock.nowMs() / SECOND_MS;
  }

  /**
   * Takes a newer state over and ends what it no longer allows.
   * @returns false when it was older than the one in force
   */
  async apply(state: ProxyState, parts: StateParts): Promise<boolean> {
    if (state.version < this.#live.version) return false;
    this.#live = new LiveState(state);
    this.#table = this.#makeTable();
    const routes = this.#table.list();
    const identities = new Set(routes.map(routeIdentity));
    parts.activity.keepOnly(new Set(routes.map(routeKey)));
    parts.work.closeWhere((item) => !identities.has(item.routeIdentity), GOING_AWAY);
    this.#closeRevoked(parts);
    await parts.tickets.setKeys(state.keys);
    return true;
  }

  /** The same for what changed since version `base`. @returns false when that is not the version in force */
  async change(base: number, changes: readonly Delta[], parts: StateParts): Promise<boolean> {
    if (base !== this.#live.version) return false;
    const ended = new Set<string>();
    for (const delta of changes) this.#applyDelta(delta, ended, parts.activity);
    if (ended.size > 0) parts.work.closeWhere((item) => ended.has(item.routeIdentity), GOING_AWAY);
    if (changes.some(({ revoke }) => revoke.length > 0)) this.#closeRevoked(parts);
    if (changes.some(({ keys }) => keys !== null)) await parts.tickets.setKeys(this.#live.keys);
    return true;
  }

  /** @param ended gets the identities that are served no more */
  #applyDelta(delta: Delta, ended: Set<string>, activity: Activity): void {
    for (const key of delta.remove) {
      const before = this.#live.findRoute(key);
      if (before === undefined) continue;
      ended.add(routeIdentity(before));
      activity.forget(key);
      if (this.#isServed(before)) this.#table.remove(before);
    }
    for (const route of delta.put) {
      const before = this.#live.findRoute(routeKey(route));
      if (before !== undefined) ended.add(routeIdentity(before));
      ended.delete(routeIdentity(route));
      if (this.#isServed(route)) this.#table.put(route);
    }
    this.#live.apply(delta);
    if (delta.revoke.length > 0) this.#live.forget(this.#options.clock.nowMs() / SECOND_MS);
  }

  #closeRevoked({ work }: StateParts): void {
    work.closeWhere(({ sessionId }) => sessionId !== undefined && this.isRevoked(sessionId), POLICY_VIOLATION);
  }

  /** Another hub has what it made, and all of it; ours has what is left, `/` first of all. */
  #isServed(route: Route): boolean {
    const isForeign = route.data !== null;
    return this.#options.hasForeignHub ? isForeign : !isForeign || routePlace(route) !== '/';
  }

  #makeTable(): RouteTable {
    const { hasForeignHub, hubSocketPath, hosts } = this.#options;
    const ours = hasForeignHub ? [] : [defaultRoute(hubSocketPath)];
    const served = [...this.#live.routes()].filter((route) => this.#isServed(route));
    // Ours win where both have one, as when another hub was switched off.
    const isOurs = ({ data }: Route): boolean => data === null;
    const ordered = [...served.filter((route) => !isOurs(route)), ...served.filter(isOurs)];
    return new RouteTable([...ours, ...ordered], (host) => hosts.isBelow(host));
  }
}
