import type { Clock } from '@metalhub/base/time.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { HostList } from './host.js';
import { LiveState } from './live-state.js';
import type { OpenWork } from './open-work.js';
import {
  type Delta,
  defaultRoute,
  EMPTY_STATE,
  foreignKey,
  type ProxyState,
  type Route,
  routeIdentity,
  routePlace,
} from './proxy-state.js';
import { RouteTable } from './route-table.js';
import type { TicketVerifier } from './ticket-verifier.js';
import { GOING_AWAY, POLICY_VIOLATION } from './websocket-frames.js';

export interface WorkerStateOptions {
  readonly hubSocketPath: string;
  /** Of the hub's own route, `/` or as `/jupyter/`. */
  readonly hubPrefix: string;
  /** Routes are those of another hub only. */
  readonly hasForeignHub: boolean;
  readonly hosts: HostList;
  readonly clock: Clock;
}

/** What a change of the state has to reach. */
export interface StateParts {
  readonly tickets: TicketVerifier;
  readonly work: OpenWork;
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

  /** @param key of a route */
  hasRoute(key: string): boolean {
    return key === this.#options.hubPrefix || this.#live.findRoute(key) !== undefined;
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
    const identities = new Set(this.#table.list().map(routeIdentity));
    parts.work.closeWhere((item) => !identities.has(item.routeIdentity), GOING_AWAY);
    this.#closeRevoked(parts);
    await parts.tickets.setKeys(state.keys);
    return true;
  }

  /** The same for what changed since version `base`. @returns false when that is not the version in force */
  async change(base: number, changes: readonly Delta[], parts: StateParts): Promise<boolean> {
    if (base !== this.#live.version) return false;
    const ended = new Set<string>();
    for (const delta of changes) this.#applyDelta(delta, ended);
    if (ended.size > 0) parts.work.closeWhere((item) => ended.has(item.routeIdentity), GOING_AWAY);
    if (changes.some(({ revoke }) => revoke.length > 0)) this.#closeRevoked(parts);
    if (changes.some(({ keys }) => keys !== null)) await parts.tickets.setKeys(this.#live.keys);
    return true;
  }

  /** @param ended gets the identities that are served no more */
  #applyDelta(delta: Delta, ended: Set<string>): void {
    const removed = delta.remove.map((key) => this.#live.findRoute(key)).filter((route) => route !== undefined);
    const touched = new Map([...removed, ...delta.put].map((route) => [routePlace(route), route]));
    const before = [...touched.values()].map((at) => this.#servedAt(at));
    this.#live.apply(delta);
    for (const route of before) if (route !== undefined) ended.add(routeIdentity(route));
    for (const at of touched.values()) {
      const route = this.#servedAt(at);
      if (route === undefined) this.#table.remove(at);
      else this.#table.put(route);
      if (route !== undefined) ended.delete(routeIdentity(route));
    }
    if (delta.revoke.length > 0) this.#live.forget(this.#options.clock.nowMs() / SECOND_MS);
  }

  #closeRevoked({ work }: StateParts): void {
    work.closeWhere(({ sessionId }) => sessionId !== undefined && this.isRevoked(sessionId), POLICY_VIOLATION);
  }

  /** Another hub has what it made, and all of it; ours has what is left, its own place first of all. */
  #isServed(route: Route): boolean {
    const { hasForeignHub, hubPrefix } = this.#options;
    return hasForeignHub ? route.data !== null : routePlace(route) !== hubPrefix;
  }

  /** Two hubs may both have a route at a place. Ours wins, as when another hub was switched off. */
  #servedAt(at: Pick<Route, 'host' | 'prefix'>): Route | undefined {
    const both = [this.#live.findRoute(routePlace(at)), this.#live.findRoute(foreignKey(at))];
    return both.find((route) => route !== undefined && this.#isServed(route)) ?? this.#ownRoot(at);
  }

  /** The way to our hub, which is never stored. */
  #ownRoot(at: Pick<Route, 'host' | 'prefix'>): Route | undefined {
    const { hasForeignHub, hubSocketPath, hubPrefix } = this.#options;
    return hasForeignHub || routePlace(at) !== hubPrefix ? undefined : defaultRoute(hubSocketPath, hubPrefix);
  }

  #makeTable(): RouteTable {
    const { hasForeignHub, hubPrefix, hosts } = this.#options;
    const places = [{ host: null, prefix: hubPrefix }, ...this.#live.routes()];
    const served = places.map((at) => this.#servedAt(at)).filter((route) => route !== undefined);
    return new RouteTable(served, (host) => hosts.isBelow(host), hasForeignHub ? '/' : hubPrefix);
  }
}
