import { MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import type { Config, ProfileConfig } from '@metalhub/config/schema.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';

/** Why a server is ended that nobody stopped and that did not fail. */
export type EndReason = 'idle' | 'age';

/** When and why a server will be ended, if nothing happens before. */
export interface LifeSpan {
  readonly reason: EndReason;
  readonly endsMs: number;
  /** From here on its user is told. */
  readonly warnMs: number;
  readonly limitSec: number;
}

export interface LifeLimits {
  /** Seconds; 0 for none, as in the configuration. */
  readonly idleSec: number;
  readonly ageSec: number;
}

export interface LifeFacts {
  readonly startedMs: number;
  /** When it was last used, or at work; `undefined` when that cannot be known now, and then nobody is called idle. */
  readonly activeMs: number | undefined;
}

const MAX_WARNING_MS = 10 * MINUTE_MS;
/** Of a short limit this part is warned of. */
const WARNED_PART = 4;

/** What holds for servers of this profile. */
export function lifeLimits({ server }: Config, profile: ProfileConfig | undefined): LifeLimits {
  return {
    idleSec: profile?.idle_timeout_sec ?? server.idle_timeout_sec,
    ageSec: profile?.max_age_sec ?? server.max_age_sec,
  };
}

/** Whichever comes first; `undefined` when the server may run for ever. */
export function lifeSpan({ idleSec, ageSec }: LifeLimits, { startedMs, activeMs }: LifeFacts): LifeSpan | undefined {
  const spans: LifeSpan[] = [];
  if (ageSec > 0) spans.push(spanOf('age', startedMs, ageSec));
  if (idleSec > 0 && activeMs !== undefined) spans.push(spanOf('idle', Math.max(activeMs, startedMs), idleSec));
  return spans.sort((a, b) => a.endsMs - b.endsMs)[0];
}

/**
 * When a server was used, or something was at work in it: what the proxy has seen and what it says of itself.
 * @param clocks `setBackMs` is how much the wall clock, by which these two are told, is behind `nowMs`
 * @returns milliseconds since the epoch; `undefined` while that is not known
 */
export function lastActiveMs(
  seenByProxyMs: number | undefined,
  { busy, idle_since_ms }: Pick<ServerStatus, 'busy' | 'idle_since_ms'>,
  { nowMs, setBackMs }: { readonly nowMs: number; readonly setBackMs: number },
): number | undefined {
  if (busy === true) return nowMs;
  return seenByProxyMs && Math.max(seenByProxyMs, idle_since_ms ?? 0) + setBackMs;
}

/** The same span by a clock that is so much ahead. */
export function laterBy(span: LifeSpan, milliseconds: number): LifeSpan {
  return { ...span, endsMs: span.endsMs + milliseconds, warnMs: span.warnMs + milliseconds };
}

function spanOf(reason: EndReason, fromMs: number, limitSec: number): LifeSpan {
  const lengthMs = limitSec * SECOND_MS;
  const endsMs = fromMs + lengthMs;
  return { reason, endsMs, warnMs: endsMs - Math.min(MAX_WARNING_MS, lengthMs / WARNED_PART), limitSec };
}
