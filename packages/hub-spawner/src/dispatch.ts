import type { Socket } from 'node:net';
import type { Handlers } from '@metalhub/wire/server.js';
import type { SpawnerRequests } from '@metalhub/wire/spawner.js';
import type { SpawnerAdminRequests } from '@metalhub/wire/spawner-admin.js';
import type { SpawnerContext } from './context.js';
import { answerAdoptHome } from './requests/adopt-home.js';
import { answerAttachCommand, answerExec, answerShell, answerSignalCommand } from './requests/exec.js';
import { answerFixHome } from './requests/fix-home.js';
import { answerFreeze, answerThaw } from './requests/freeze.js';
import { answerList } from './requests/list.js';
import { createLeaseLister } from './requests/list-leases.js';
import { answerReleaseLease } from './requests/release-lease.js';
import { answerSetLimits } from './requests/set-limits.js';
import { answerStartServer } from './requests/start-server.js';
import { answerStatus } from './requests/status.js';
import { answerStopServer } from './requests/stop-server.js';
import { answerWatch } from './requests/watch.js';

/** All that the hub can ask of this root daemon. A row more needs a test of its refusals and a line in docs/privileges.md. */
export function spawnerHandlers(context: SpawnerContext): Handlers<SpawnerRequests> {
  return {
    StartServer: (params, request) => answerStartServer(context, params, request),
    StopServer: (params) => answerStopServer(context, params),
    SetLimits: (params) => answerSetLimits(context, params),
    Freeze: (params) => answerFreeze(context, params),
    Thaw: (params) => answerThaw(context, params),
    Status: (params) => answerStatus(context, params),
    List: () => answerList(context),
    Watch: (_params, request) => answerWatch(context, request),
  };
}

/**
 * All that administrators can, and the hub cannot, for one connection of theirs. What changes something is logged with who asked for it.
 * @param peer `uid=0 pid=812`
 * @param socket the connection, for descriptors
 */
export function spawnerAdminHandlers(
  context: SpawnerContext,
  peer: string,
  socket: Socket,
): Handlers<SpawnerAdminRequests> {
  return {
    ListLeases: createLeaseLister(context),
    ReleaseLease: (params) => answerReleaseLease(context, params, peer),
    AdoptHome: (params) => answerAdoptHome(context, params, peer),
    Exec: (params, request) => answerExec(context, params, request, socket),
    Shell: (params, request) => answerShell(context, params, request, socket),
    AttachCommand: (params, request) => answerAttachCommand(context, params, request),
    SignalCommand: (params) => answerSignalCommand(context, params),
    FixHome: (params, { signal }) => answerFixHome(context, params, peer, signal),
  };
}
