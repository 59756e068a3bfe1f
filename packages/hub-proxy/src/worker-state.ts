import type { Clock } from '@metalhub/base/time.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Activity } from './activity.js';
import type { OpenWork } from './open-work.js';
import { defaultRoute, type ProxyState, routeIdentity, routeKey } from './proxy-state.js';
import { RouteTable } from './route-table.js';
import type { TicketVerifier } from './ticket-verifier.js';
import { GOING_AWAY, POLICY_VIOLATION } from './websocket-frames.js';

/** A worker's copy of what the supervisor stores. */
export class WorkerState {
  #version = -1;
  #table: RouteTable;
  #revokedUntilSec = new Map<string, number>();
  readonly #hubSocketPath: string;
  readonly #clock: Clock;

  constructor(hubSocketPath: string, clock: Clock) {
    this.#hubSocketPath = hubSocketPath;
    this.#clock = clock;
    this.#table = new RouteTable([defaultRoute(hubSocketPath)]);
  }

  get table(): RouteTable {
    return this.#table;
  }

  isRevoked(sessionId: string): boolean {
    const untilSec = this.#revokedUntilSec.get(sessionId);
    return untilSec !== undefined && untilSec >= this.#clock.nowMs() / SECOND_MS;
  }

  /**
   * Takes a newer state over and ends what it no longer allows.
   * @returns false when it was older than the one in force
   */
  async apply(
    state: ProxyState,
    parts: { tickets: TicketVerifier; work: OpenWork; activity: Activity },
  ): Promise<boolean> {
    if (state.version < this.#version) return false;
    this.#version = state.version;
    this.#table = new RouteTable([defaultRoute(this.#hubSocketPath), ...state.routes]);
    this.#revokedUntilSec = new Map(state.revocations.map(({ session_id, until }) => [session_id, until]));
    const routes = this.#table.list();
    const identities = new Set(routes.map(routeIdentity));
    parts.activity.keepOnly(new Set(routes.map(routeKey)));
    parts.work.closeWhere((item) => !identities.has(item.routeIdentity), GOING_AWAY);
    parts.work.closeWhere(({ sessionId }) => sessionId !== undefined && this.isRevoked(sessionId), POLICY_VIOLATION);
    await parts.tickets.setKeys(state.keys);
    return true;
  }
}
