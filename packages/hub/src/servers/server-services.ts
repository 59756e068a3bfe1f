import type { Log } from '@metalhub/base/log.js';
import type { Clock } from '@metalhub/base/time.js';
import type { Config } from '@metalhub/config/schema.js';
import type { LogsClient } from '../clients/logs-client.js';
import type { SpawnerClient } from '../clients/spawner-client.js';
import type { Database } from '../db/database.js';
import type { RouteReconciler } from '../routes/route-reconciler.js';
import type { ServerTokens } from '../tickets/server-token.js';
import type { Profiles } from './profiles.js';
import type { StartQueue } from './start-queue.js';
import type { UserServer } from './user-server.js';

/** What servers need of the rest of the hub. */
export interface ServerServices {
  readonly database: Database;
  readonly spawner: SpawnerClient;
  readonly logs: LogsClient;
  readonly routes: Pick<RouteReconciler, 'publish' | 'withdraw' | 'request'>;
  readonly tokens: ServerTokens;
  readonly queue: StartQueue;
  readonly config: () => Config;
  readonly profiles: Profiles;
  /** Of the paths of servers that are started now. */
  readonly base: () => string;
  readonly clock: Clock;
  readonly sleep: (milliseconds: number) => Promise<void>;
  readonly log: Log;
  /** Called when a server has come to rest: it need not be watched any more. */
  readonly onRest: () => void;
  /** Called when a server has been deleted. */
  readonly onForgotten: (server: Pick<UserServer, 'user' | 'name'>) => void;
}
