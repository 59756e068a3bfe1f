import type { LimitGrant } from '../db/tables/limit-grants.js';
import { isAtRest, type ServerState } from './server-state.js';

/** What a grant needs now: `apply` also to a later start within its time. */
export type GrantStep = 'keep' | 'apply' | 'give-back' | 'forget';

/** Pure: what to do about a grant of limits. @param state of its server, `undefined` when there is none any more */
export function grantStep({ untilMs, startId }: LimitGrant, state: ServerState | undefined, nowMs: number): GrantStep {
  const isOver = untilMs !== null && nowMs >= untilMs;
  // Deleted; another of its name has nothing of it.
  if (state === undefined) return 'forget';
  if (isAtRest(state)) return isOver || untilMs === null ? 'forget' : 'keep';
  if (state.phase !== 'ready') return 'keep';
  // Also of a later start: this process may have ended after that was given them, before it was recorded.
  if (isOver) return 'give-back';
  if (state.run.startId === startId) return 'keep';
  return untilMs === null ? 'forget' : 'apply';
}
