import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import type { FastifyInstance } from 'fastify';
import { metricsFamilies } from './metrics-page.js';
import { formatMetrics, METRICS_CONTENT_TYPE } from './metrics-text.js';
import type { StateStore } from './state-store.js';
import type { Supervisor } from './supervisor.js';

export interface MetricsParts {
  readonly store: StateStore;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly version: string;
}

const API_COUNTS: Readonly<Record<string, string>> = { GET: 'api|get', POST: 'api|add', DELETE: 'api|delete' };

/** `GET /metrics` on the route API, in Prometheus' text format, and counts of what the route API itself is asked. */
export function registerMetrics(app: FastifyInstance, parts: MetricsParts): void {
  const { store, supervisor, clock, version } = parts;
  const startedMs = clock.monotonicMs();

  app.addHook('onResponse', async (request, reply) => {
    supervisor.ledger.count(`api_requests|${reply.statusCode}`);
    if (request.routeOptions.url?.startsWith('/api/routes') !== true) return;
    const name = API_COUNTS[request.method];
    if (name !== undefined) supervisor.ledger.count(name);
  });

  app.get('/metrics', async (_request, reply) => {
    const reports = await supervisor.reports();
    reply.type(METRICS_CONTENT_TYPE);
    return formatMetrics(
      metricsFamilies({
        version,
        reports,
        counters: supervisor.ledger.total(),
        routes: store.live.routeCount + 1,
        revocations: store.live.revocationCount,
        uptimeSec: (clock.monotonicMs() - startedMs) / SECOND_MS,
        nowMs: clock.nowMs(),
      }),
    );
  });
}
