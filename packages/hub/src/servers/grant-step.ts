import type { LimitGrant } from '../db/tables/limit-grants.js';
import { isAtRest, type ServerState } from './server-state.js';

/** What a grant needs now: `apply` also to a later start within its time. */
export type GrantStep = 'keep' | 'apply' | 'give-back' | 'forget';

/** Pure: what to do about a grant of limits. @param state of its server, `undefined` when there is none any more */
export function grantStep({ untilMs, startId }: LimitGrant, state: ServerState | undefined, nowMs: number): GrantStep {
  const isOver = untilMs !== null && nowMs >= untilMs;
  if (state === undefined || isAtRest(state)) return isOver || untilMs === null ? 'forget' : 'keep';
  if (state.phase !== 'ready') return 'keep';
  const isItsStart = state.run.startId === startId;
  // Any other start has its own limits already.
  if (isOver || (untilMs === null && !isItsStart)) return isItsStart ? 'give-back' : 'forget';
  return isItsStart ? 'keep' : 'apply';
}
