import { MAX_LEFT, MAX_LEFT_PATH } from '@metalhub/wire/spawner-admin.js';
import type { FixTreeResult } from './fix-tree.js';
import type { FixHomeReport } from './request.js';

export interface FixHomePass extends FixTreeResult {
  readonly begunAtMs: number;
  readonly durationMs: number;
}

/** What hub-spawner is told of a pass: paths as text that fits. Pure. */
export function reportOf(id: string, pass: FixHomePass): FixHomeReport {
  return {
    id,
    begun_at_ms: pass.begunAtMs,
    pass: {
      seen: pass.seen,
      changed: pass.changed,
      left: pass.left,
      left_examples: pass.examples
        .slice(0, MAX_LEFT)
        .map(({ path, reason }) => ({ path: readable(path ?? '(a path too long to tell)'), reason })),
      duration_ms: pass.durationMs,
    },
  };
}

/** The end says more than the beginning. */
function readable(bytes: string): string {
  const text = Buffer.from(bytes, 'latin1').toString('utf8');
  return text.length <= MAX_LEFT_PATH ? text : `...${text.slice(text.length - MAX_LEFT_PATH + 3)}`;
}
