import type { ServerStatus } from '@metalhub/wire/spawner.js';
import type { Failure, OwnEnd } from '../db/tables/servers.js';

/**
 * The life of one server as the hub sees it. Pure: what happened comes in as an event, the next state comes out; an
 * event that does not fit (a late message about an earlier start) leaves the state as it is.
 */
export type ServerState =
  | {
      readonly phase: 'stopped' /** Why the hub has ended it, until the next start. */;
      readonly own?: OwnEnd | undefined;
    }
  | { readonly phase: 'failed'; readonly failure: Failure }
  | Spawning
  | Ready
  | { readonly phase: 'stop'; readonly run: Run; readonly before: Spawning | Ready; readonly isOurs: boolean };

export interface Run {
  /** 32 hex digits, made by the hub for this start. */
  readonly startId: string;
  readonly profile: string;
  readonly requestedMs: number;
  readonly invocationId: string | null;
}

export interface Spawning {
  readonly phase: 'spawn';
  readonly run: Run;
  /** Whether a StartServer of this process waits for the answer; otherwise the watch tells the end. */
  readonly isOurs: boolean;
}

export interface Ready {
  readonly phase: 'ready';
  readonly run: Run;
  readonly startedMs: number;
}

export type ServerEvent =
  | { readonly type: 'start-requested'; readonly run: Run }
  /** The unit runs and the proxy knows the way. */
  | { readonly type: 'became-ready'; readonly startId: string; readonly run: Run; readonly startedMs: number }
  | { readonly type: 'start-failed'; readonly startId: string; readonly failure: Failure }
  | { readonly type: 'caller-lost'; readonly startId: string }
  /** A start that an earlier process of the hub asked for is asked for again. */
  | { readonly type: 'resumed' }
  | { readonly type: 'stop-requested' }
  | { readonly type: 'stop-failed' }
  | { readonly type: 'stopped'; readonly own?: OwnEnd | undefined }
  | { readonly type: 'seen'; readonly status: ServerStatus; readonly nowMs: number; readonly failure: Failure };

export const STOPPED: ServerState = { phase: 'stopped' };

export function nextState(state: ServerState, event: ServerEvent): ServerState {
  switch (event.type) {
    case 'start-requested':
      return isAtRest(state) ? { phase: 'spawn', run: event.run, isOurs: true } : state;
    case 'became-ready':
      // The run differs from what was asked for when the server was running already.
      if (state.phase !== 'spawn' || state.run.startId !== event.startId) return state;
      return { phase: 'ready', run: event.run, startedMs: event.startedMs };
    case 'start-failed':
      if (state.phase !== 'spawn' || state.run.startId !== event.startId) return state;
      return { phase: 'failed', failure: event.failure };
    case 'caller-lost':
      return state.phase === 'spawn' && state.run.startId === event.startId ? { ...state, isOurs: false } : state;
    case 'resumed':
      return state.phase === 'spawn' ? { ...state, isOurs: true } : state;
    case 'stop-requested':
      if (state.phase === 'stop') return state.isOurs ? state : { ...state, isOurs: true };
      if (isAtRest(state)) return state;
      return { phase: 'stop', run: state.run, before: state, isOurs: true };
    case 'stop-failed':
      return state.phase === 'stop' ? state.before : state;
    case 'stopped':
      return event.own === undefined ? STOPPED : { phase: 'stopped', own: event.own };
    case 'seen':
      return stateAfterSeen(state, event);
  }
}

export function isAtRest(state: ServerState): state is Extract<ServerState, { phase: 'stopped' | 'failed' }> {
  return state.phase === 'stopped' || state.phase === 'failed';
}

function stateAfterSeen(state: ServerState, event: Extract<ServerEvent, { type: 'seen' }>): ServerState {
  switch (event.status.active_state) {
    case 'active':
    case 'reloading':
    case 'refreshing':
      return afterActive(state, event);
    case 'activating':
      return afterActivating(state, event);
    case 'deactivating':
      if (!isAbout(state, event.status)) return state;
      return state.phase === 'ready' ? { phase: 'stop', run: state.run, before: state, isOurs: false } : state;
    case 'inactive':
    case 'failed':
    case 'maintenance':
      return afterEnd(state, event);
  }
}

function afterActive(state: ServerState, { status, nowMs }: Extract<ServerEvent, { type: 'seen' }>): ServerState {
  const run = runOf(status, nowMs);
  if (run === undefined) return state;
  if (state.phase === 'stop') return state;
  if (state.phase === 'spawn') return state.run.startId === run.startId ? withInvocation(state, status) : state;
  const startedMs = status.started_at_ms ?? nowMs;
  if (state.phase !== 'ready') return { phase: 'ready', run, startedMs };
  // Our run is over; what has the unit's name now was not started by this hub.
  if (state.run.startId !== run.startId) return STOPPED;
  const { invocationId } = run;
  if (state.run.invocationId === invocationId && state.startedMs === startedMs) return state;
  return { ...state, run: { ...state.run, invocationId }, startedMs };
}

function afterActivating(state: ServerState, { status, nowMs }: Extract<ServerEvent, { type: 'seen' }>): ServerState {
  const run = runOf(status, nowMs);
  if (run === undefined) return state;
  if (state.phase === 'spawn') return state.run.startId === run.startId ? withInvocation(state, status) : state;
  return isAtRest(state) ? { phase: 'spawn', run, isOurs: false } : state;
}

function afterEnd(state: ServerState, { status, failure }: Extract<ServerEvent, { type: 'seen' }>): ServerState {
  if (!isAbout(state, status)) return state;
  if (state.phase === 'stop') return state.isOurs ? state : STOPPED;
  if (state.phase === 'spawn') return state.isOurs ? state : { phase: 'failed', failure };
  if (state.phase !== 'ready') return state;
  return hasFailed(status) ? { phase: 'failed', failure } : STOPPED;
}

/** A unit that is gone carries no start id, so what is said of it may be about an earlier start: see UserServer. */
function isAbout(state: ServerState, status: ServerStatus): boolean {
  if (isAtRest(state)) return false;
  return status.start_id === null || status.start_id === state.run.startId;
}

export function hasFailed(status: ServerStatus): boolean {
  return status.active_state === 'failed' || (status.result !== null && status.result !== 'success');
}

function withInvocation(state: Spawning, status: ServerStatus): Spawning {
  if (state.run.invocationId === status.invocation_id) return state;
  return { ...state, run: { ...state.run, invocationId: status.invocation_id } };
}

/** `undefined` for a unit without a start id: it is not one that this hub asked for. */
export function runOf(status: ServerStatus, nowMs: number): Run | undefined {
  if (status.start_id === null) return undefined;
  return {
    startId: status.start_id,
    profile: status.profile ?? 'default',
    requestedMs: status.started_at_ms ?? nowMs,
    invocationId: status.invocation_id,
  };
}
