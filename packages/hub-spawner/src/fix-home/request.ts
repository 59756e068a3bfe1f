import { join } from 'node:path';
import { isKey, type Key } from '@metalhub/base/names.js';
import { boolean, guarded, integer, object, type Shaped, text } from '@metalhub/base/shape.js';
import { homePassShape } from '@metalhub/wire/spawner-admin.js';

/** Credential of hub-fix-home@.service: what hub-spawner wants done. */
export const REQUEST_CREDENTIAL = 'request';

const uid = integer(1, 4_294_967_293);

export const fixHomeRequestShape = object({
  /** Says which request a report answers. */
  id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  key: guarded(isKey, 'a key'),
  /** What everything in the home shall belong to; also the gid. */
  uid,
  /** Only look. */
  check: boolean(),
  /** Nobody else changes the home meanwhile: no process of its user's exists. */
  is_alone: boolean(),
  /** hub-home-kind.service has ended for good: what it has left can go. */
  removes_probe: boolean(),
});
export type FixHomeRequest = Shaped<typeof fixHomeRequestShape>;

export const fixHomeReportShape = object({
  id: text({ pattern: /^[0-9a-f]{32}$/, max: 32 }),
  /** Milliseconds since the epoch; what has changed later was perhaps not seen. */
  begun_at_ms: integer(0, Number.MAX_SAFE_INTEGER),
  pass: homePassShape,
});
export type FixHomeReport = Shaped<typeof fixHomeReportShape>;

/** RuntimeDirectory= of hub-fix-home@.service. */
const REPORTS_DIRECTORY = '/run/metalhub-fix-home';

/** Where a pass leaves its report for hub-spawner. */
export function fixHomeReportPath(key: Key): string {
  return join(REPORTS_DIRECTORY, `${key}.json`);
}
