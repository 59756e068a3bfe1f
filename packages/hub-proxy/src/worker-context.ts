import type { Log } from '@metalhub/base/log.js';
import type { Activity } from './activity.js';
import type { Deadlines } from './deadlines.js';
import type { Edge } from './edge.js';
import type { ErrorPages } from './error-pages.js';
import type { Gate } from './gate.js';
import type { HostList } from './host.js';
import type { HubForward } from './hub-forward.js';
import type { OpenWork } from './open-work.js';
import type { RefusalLog } from './refusal-log.js';
import type { Settings } from './settings.js';
import type { UpstreamOptions } from './upstream.js';
import type { UpstreamPool } from './upstream-pool.js';
import type { WorkerMetrics } from './worker-metrics.js';
import type { WorkerState } from './worker-state.js';

/** What every connection of a worker gets. */
export interface WorkerContext {
  readonly settings: Settings;
  readonly hosts: HostList;
  readonly log: Log;
  readonly state: WorkerState;
  readonly gate: Gate;
  readonly edge: Edge;
  readonly forward: HubForward;
  readonly upstream: UpstreamOptions;
  readonly errors: ErrorPages;
  readonly work: OpenWork;
  readonly deadlines: Deadlines;
  readonly pool: UpstreamPool;
  readonly activity: Activity;
  readonly refusals: RefusalLog;
  readonly metrics: WorkerMetrics;
  readonly isDraining: () => boolean;
}
