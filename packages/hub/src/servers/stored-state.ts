import type { ServerRecord, StoredServer } from '../db/tables/servers.js';
import { isAtRest, type ServerState, STOPPED } from './server-state.js';

/** What the database remembers: not yet known to be true when the server was wanted. */
export function restoredState({
  startId,
  profile,
  requestedMs,
  startedMs,
  failure,
  ownEnd,
}: Omit<StoredServer, 'user'>): ServerState {
  if (startId === null) {
    if (failure !== null) return { phase: 'failed', failure };
    return ownEnd === null ? STOPPED : { phase: 'stopped', own: ownEnd };
  }
  const run = { startId, profile, requestedMs: requestedMs ?? 0, invocationId: null };
  return startedMs === null ? { phase: 'spawn', run, isOurs: false } : { phase: 'ready', run, startedMs };
}

/** What of a state is stored. @param rest what a server at rest has besides */
export function recordedState(
  state: ServerState,
  rest: Pick<ServerRecord, 'name' | 'profile' | 'choices' | 'base'>,
): ServerRecord {
  const run = isAtRest(state) ? undefined : state.run;
  return {
    ...rest,
    profile: run?.profile ?? rest.profile,
    startId: run?.startId ?? null,
    requestedMs: run?.requestedMs ?? null,
    startedMs: state.phase === 'ready' ? state.startedMs : null,
    failure: state.phase === 'failed' ? state.failure : null,
    ownEnd: (state.phase === 'stopped' && state.own) || null,
  };
}
