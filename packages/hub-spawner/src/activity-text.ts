import type { ServerStatus } from '@metalhub/wire/spawner.js';

type Activity = Pick<ServerStatus, 'busy' | 'idle_since_ms' | 'out_of_memory_ms'>;

const TIME = '(\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}Z)';
const PATTERN = new RegExp(`^(?:(Busy)|Idle since ${TIME})(?:; out of memory at ${TIME})?$`);
const NOTHING: Activity = { busy: null, idle_since_ms: null, out_of_memory_ms: null };

/**
 * What the launcher says of itself as its unit's status (`activity_text` in activity.py): `Busy`, or `Idle since
 * 2026-11-23T03:20:00Z`, and `; out of memory at …` behind it. The server is its user's and may say anything: what is not
 * understood says nothing.
 */
export function parseActivity(text: string): Activity {
  const [, busy, since, killed] = PATTERN.exec(text) ?? [];
  const sinceMs = timeOf(since);
  if (busy === undefined && sinceMs === null) return NOTHING;
  return { busy: busy !== undefined, idle_since_ms: sinceMs, out_of_memory_ms: timeOf(killed) };
}

function timeOf(text: string | undefined): number | null {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isSafeInteger(ms) && ms >= 0 ? ms : null;
}
