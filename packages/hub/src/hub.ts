import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '@metalhub/base/log.js';
import { type Clock, MINUTE_MS } from '@metalhub/base/time.js';
import { basePath } from '@metalhub/config/base-path.js';
import type { Config } from '@metalhub/config/schema.js';
import type { Authenticator } from './auth/authenticator.js';
import { LoginGate } from './auth/login-gate.js';
import { type FindAccount, LoginService } from './auth/login-service.js';
import { loadPenalties, storePenalties } from './auth/penalty-store.js';
import { Sessions } from './auth/sessions.js';
import { steadyNow } from './auth/steady-clock.js';
import { Throttle } from './auth/throttle.js';
import type { LogsClient } from './clients/logs-client.js';
import type { ProxyClient } from './clients/proxy-client.js';
import type { SpawnerClient } from './clients/spawner-client.js';
import type { HubContext } from './context.js';
import type { Database } from './db/database.js';
import { deletePastRevocations, listRevocations } from './db/tables/revocations.js';
import { RouteReconciler } from './routes/route-reconciler.js';
import { Culler } from './servers/culler.js';
import { LimitGrants } from './servers/limit-grants.js';
import { type GroupsOf, Profiles } from './servers/profiles.js';
import { ServerManager } from './servers/server-manager.js';
import { serverTokens } from './tickets/server-token.js';
import type { TicketKeys } from './tickets/ticket-keys.js';
import { Tickets } from './tickets/tickets.js';
import { Csrf } from './web/csrf.js';
import { StreamRegistry } from './web/stream-registry.js';

export interface HubParts {
  config: () => Config;
  database: Database;
  authenticator: Authenticator;
  spawner: SpawnerClient;
  logs: LogsClient;
  proxy: ProxyClient;
  ticketKeys: TicketKeys;
  serverTokenKey: Buffer;
  cookieKey: Buffer;
  clock: Clock;
  log: Log;
  version: string;
  findAccount: FindAccount;
  groupsOf: GroupsOf;
  sleep?: (milliseconds: number) => Promise<void>;
}

export interface Hub {
  readonly context: HubContext;
  close(): Promise<void>;
}

const CLEAN_UP_MS = 10 * MINUTE_MS;

/** Puts the hub together and begins to work; what listens comes on top. @throws {MH_ERR_HUB_DATABASE} */
export async function openHub(parts: HubParts): Promise<Hub> {
  const { config, database, clock, log, proxy, spawner, logs } = parts;
  const sleep = parts.sleep ?? ((milliseconds: number) => delay(milliseconds));
  const steadyNowMs = steadyNow(clock);
  const base = (): string => basePath(config().public_url);
  const wallNowMs = (): number => clock.nowMs();
  const throttle = new Throttle(clock);
  await loadPenalties(database, throttle, clock);
  const sessions = new Sessions({
    database,
    wallNowMs,
    steadyNowMs,
    lifetimeSec: () => config().hub.session_lifetime_sec,
    base,
    onRevoked: (revocations) => routes.revoke(revocations),
  });
  const routes: RouteReconciler = new RouteReconciler({
    proxy,
    wanted: () => servers.wantedRoutes(),
    isProtected: (prefix, report) => servers.isProtected(prefix, report.invocation_id),
    keys: parts.ticketKeys.publicKeys,
    revocations: () => listRevocations(database),
    log: log.child({ area: 'routes' }),
  });
  const profiles = new Profiles(config, parts.groupsOf, log);
  const servers: ServerManager = new ServerManager({
    database,
    spawner,
    logs,
    routes,
    tokens: serverTokens(parts.serverTokenKey),
    config,
    profiles,
    base,
    clock,
    sleep,
    onForgotten: (server) => grants.drop(server),
    log: log.child({ area: 'servers' }),
  });
  const login = new LoginService({
    authenticator: parts.authenticator,
    database,
    sessions,
    throttle,
    gate: new LoginGate(),
    clock,
    sleep,
    findAccount: parts.findAccount,
    config,
    log: log.child({ area: 'login' }),
  });
  const culler = new Culler({
    servers: () => servers.list(),
    routes: () => proxy.getRoutes(),
    isSpawnerHeard: () => servers.isSpawnerReachable === true,
    config,
    nowMs: steadyNowMs,
    clock,
    log: log.child({ area: 'servers' }),
  });
  const grants: LimitGrants = new LimitGrants({
    database,
    spawner,
    servers: () => servers.list(),
    nowMs: steadyNowMs,
    wallNowMs,
    log: log.child({ area: 'servers' }),
  });
  const context: HubContext = {
    config,
    base,
    database,
    sessions,
    login,
    profiles,
    servers,
    culler,
    grants,
    routes,
    proxy,
    logs,
    tickets: new Tickets(parts.ticketKeys, wallNowMs),
    csrf: new Csrf(parts.cookieKey),
    streams: new StreamRegistry(),
    clock,
    log,
    version: parts.version,
    startedMs: clock.nowMs(),
  };
  await servers.open();
  routes.request();
  await grants.open();
  culler.start();
  const cleanUp = async (): Promise<void> => {
    try {
      await sessions.deleteExpired();
      await database.write((transaction) => deletePastRevocations(transaction, Math.min(wallNowMs(), steadyNowMs())));
      await storePenalties(database, throttle, clock);
    } catch (error) {
      log.warning('database could not be cleaned up', { err: error });
    }
  };
  const timer = setInterval(() => void cleanUp(), CLEAN_UP_MS); // it logs its own failure
  timer.unref();
  return {
    context,
    async close() {
      clearInterval(timer);
      culler.close();
      grants.close();
      servers.close();
      routes.close();
      await storePenalties(database, throttle, clock).catch(() => undefined);
      await database.close();
    },
  };
}
