import type { Log } from '@metalhub/base/log.js';
import type { Clock } from '@metalhub/base/time.js';
import type { Config } from '@metalhub/config/schema.js';
import type { LoginService } from './auth/login-service.js';
import type { Sessions } from './auth/sessions.js';
import type { LogsClient } from './clients/logs-client.js';
import type { ProxyClient } from './clients/proxy-client.js';
import type { Database } from './db/database.js';
import type { RouteReconciler } from './routes/route-reconciler.js';
import type { Culler } from './servers/culler.js';
import type { LimitGrants } from './servers/limit-grants.js';
import type { Profiles } from './servers/profiles.js';
import type { ServerManager } from './servers/server-manager.js';
import type { Tickets } from './tickets/tickets.js';
import type { Csrf } from './web/csrf.js';
import type { StreamRegistry } from './web/stream-registry.js';

/** What request handlers get. */
export interface HubContext {
  /** The configuration in force; a reload replaces it. */
  readonly config: () => Config;
  /** What every path of ours begins with, `''` or as `/jupyter`: the path of `public_url`. Routes are written without. */
  readonly base: () => string;
  readonly database: Database;
  readonly sessions: Sessions;
  readonly login: LoginService;
  readonly profiles: Profiles;
  readonly servers: ServerManager;
  readonly culler: Culler;
  readonly grants: LimitGrants;
  readonly routes: RouteReconciler;
  readonly proxy: ProxyClient;
  readonly logs: LogsClient;
  readonly tickets: Tickets;
  readonly csrf: Csrf;
  readonly streams: StreamRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly startedMs: number;
}
