import type { Handlers } from '@metalhub/wire/server.js';
import type { SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerContext } from './context.js';
import { answerList } from './requests/list.js';
import { answerStartServer } from './requests/start-server.js';
import { answerStatus } from './requests/status.js';
import { answerStopServer } from './requests/stop-server.js';
import { answerWatch } from './requests/watch.js';

/** All that this root daemon can be asked. A row more needs a test of its refusals and a line in docs/privileges.md. */
export function spawnerHandlers(context: SpawnerContext): Handlers<SpawnerRequests> {
  return {
    StartServer: (params, request) => answerStartServer(context, params, request),
    StopServer: (params) => answerStopServer(context, params),
    Status: (params) => answerStatus(context, params),
    List: () => answerList(context),
    Watch: (_params, request) => answerWatch(context, request),
  };
}
