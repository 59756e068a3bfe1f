import { STATUS_CODES } from 'node:http';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { PlacedReport, WorkerReport } from './generation-protocol.js';
import type { Counters } from './metrics-counters.js';
import type { Family, Sample } from './metrics-text.js';
import { ROUTE_KINDS } from './route-kind.js';
import { CONNECTION_REFUSALS, LATENCY_BOUNDS_SEC, UPSTREAM_ERRORS } from './worker-metrics.js';

/** What the metrics are made of. */
export interface MetricsInput {
  readonly version: string;
  readonly reports: readonly PlacedReport[];
  /** Of all generations, and of the supervisor. */
  readonly counters: Counters;
  readonly routes: number;
  readonly revocations: number;
  readonly uptimeSec: number;
  readonly nowMs: number;
}

const PREFIX = 'metalhub_proxy_';
const CODE_CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'other'] as const;
const DIRECTIONS = ['received', 'sent'] as const;
const GENERATION_ENDS = ['drained', 'lost'] as const;

/** Everything that `/metrics` says. No label holds a user's name, a path or a token: their number would not be bounded. */
export function metricsFamilies(input: MetricsInput): Family[] {
  return [...traffic(input), ...upstream(input), ...generations(input), ...compatible(input.counters)];
}

function traffic({ counters, reports }: MetricsInput): Family[] {
  const count = reader(counters);
  return [
    counter('requests_total', 'Requests answered, by what lay behind the route and class of status.', [
      ...ROUTE_KINDS.flatMap((route) =>
        CODE_CLASSES.map((code) => ({ labels: { route, code }, value: sumOfClass(counters, route, code) })),
      ),
    ]),
    {
      name: `${PREFIX}request_duration_seconds`,
      type: 'histogram',
      help: 'Time from the head of a request to the head of its answer.',
      samples: ROUTE_KINDS.flatMap((route) => histogram(count, route)),
    },
    counter('requests_aborted_total', 'Requests whose client went away before there was an answer.', [
      { value: count('aborted') },
    ]),
    counter('bytes_total', 'Bytes on the connections of clients, as seen by the proxy.', [
      ...DIRECTIONS.map((direction) => ({ labels: { direction }, value: count(`bytes|${direction}`) })),
    ]),
    gauge('open_connections', 'Open connections of clients.', [
      { value: sum(reports, ({ connections }) => connections) },
    ]),
    counter('connections_total', 'Connections of clients that were accepted.', [{ value: count('connections') }]),
    counter('connections_refused_total', 'Connections closed at once, by the limit that was reached.', [
      ...CONNECTION_REFUSALS.map((reason) => ({ labels: { reason }, value: count(`connections_refused|${reason}`) })),
    ]),
    gauge('open_websockets', 'Open WebSockets.', [{ value: sum(reports, ({ tunnels }) => tunnels) }]),
    counter('websockets_total', 'WebSockets that were opened.', [{ value: count('tunnels') }]),
    counter('websocket_bytes_total', 'Bytes of WebSockets; also part of the bytes of connections.', [
      ...DIRECTIONS.map((direction) => ({ labels: { direction }, value: count(`tunnel_bytes|${direction}`) })),
    ]),
  ];
}

function upstream({ counters, routes, revocations }: MetricsInput): Family[] {
  const count = reader(counters);
  const errors = ROUTE_KINDS.filter((route) => route !== 'none').flatMap((route) =>
    UPSTREAM_ERRORS.map((kind) => ({ labels: { route, kind }, value: count(`upstream_errors|${route}|${kind}`) })),
  );
  const help = 'Requests that the upstream did not answer: no connection, no valid answer, broken off, none in time.';
  return [
    counter('upstream_errors_total', help, errors),
    gauge('routes', 'Routes, with the one to the hub.', [{ value: routes }]),
    gauge('revoked_sessions', 'Revoked sessions that are remembered.', [{ value: revocations }]),
    counter('revocations_total', 'Sessions that were revoked.', [{ value: count('revoked') }]),
  ];
}

function generations({ counters, reports, version, uptimeSec, nowMs }: MetricsInput): Family[] {
  const count = reader(counters);
  const draining = reports.filter((report) => report.draining).length;
  const perWorker = (pick: (report: WorkerReport) => number | undefined): Sample[] =>
    reports.flatMap((report) => {
      const value = pick(report);
      const labels = { generation: String(report.generation), worker: String(report.index) };
      return value === undefined ? [] : [{ labels, value }];
    });
  return [
    gauge('info', 'Always 1.', [{ labels: { version }, value: 1 }]),
    gauge('start_time_seconds', 'When the supervisor started, since the epoch.', [
      { value: Math.round(nowMs / SECOND_MS - uptimeSec) },
    ]),
    gauge('generations', 'Workers: the newest accept connections, earlier ones finish what they have.', [
      { labels: { state: 'accepting' }, value: reports.length - draining },
      { labels: { state: 'draining' }, value: draining },
    ]),
    counter('generations_started_total', 'Workers that were started.', [{ value: count('generations_started') }]),
    counter('drains_total', 'Times that a worker was told to drain.', [{ value: count('drains') }]),
    counter('generations_surplus_total', 'Workers that were ended because there were too many.', [
      { value: count('generations_surplus') },
    ]),
    counter('generations_ended_total', 'Workers that ended: as they should, or lost by a crash.', [
      ...GENERATION_ENDS.map((reason) => ({ labels: { reason }, value: count(`generations_ended|${reason}`) })),
    ]),
    gauge(
      'worker_resident_bytes',
      'Memory of a worker, shared pages included.',
      perWorker((report) => report.rss_bytes),
    ),
    gauge(
      'worker_open_fds',
      'Open descriptors of a worker.',
      perWorker((report) => report.open_fds),
    ),
    counter('worker_cpu_seconds_total', 'Processor time of all workers.', [{ value: count('cpu_ms') / SECOND_MS }]),
  ];
}

/** Names and meaning as in configurable-http-proxy, so that its dashboards go on working. */
function compatible(counters: Counters): Family[] {
  const count = reader(counters);
  const requests = Object.entries(counters).filter(([name]) => name.startsWith('requests|'));
  const upgrades = count('upgrades');
  const plain = (name: string, help: string, samples: readonly Sample[]): Family => ({
    name,
    type: 'counter',
    help,
    samples,
  });
  return [
    plain('requests_web', 'Count of web requests', [
      { value: requests.reduce((all, [, value]) => all + value, 0) - upgrades },
    ]),
    plain('requests_ws', 'Count of websocket requests', [{ value: upgrades }]),
    plain('requests_proxy', 'Count of proxy requests', byStatus(requests.filter(([name]) => !name.includes('|none|')))),
    plain(
      'requests_api',
      'Count of API requests',
      byStatus(Object.entries(counters).filter(([name]) => name.startsWith('api_requests|'))),
    ),
    plain('api_route_get', 'Count of API route get requests', [{ value: count('api|get') }]),
    plain('api_route_add', 'Count of API route add requests', [{ value: count('api|add') }]),
    plain('api_route_delete', 'Count of API route delete requests', [{ value: count('api|delete') }]),
  ];
}

/** A user's server chooses its codes itself: those without a name become one, so that it cannot make up series. */
function byStatus(counts: readonly (readonly [string, number])[]): Sample[] {
  const sums = new Map<string, number>();
  for (const [name, value] of counts) {
    const code = name.slice(name.lastIndexOf('|') + 1);
    const status = STATUS_CODES[code] === undefined ? 'other' : code;
    sums.set(status, (sums.get(status) ?? 0) + value);
  }
  return [...sums].sort().map(([status, value]) => ({ labels: { status }, value }));
}

function sumOfClass(counters: Counters, route: string, code: (typeof CODE_CLASSES)[number]): number {
  const start = `requests|${route}|${code[0]}`;
  return Object.entries(counters).reduce((all, [name, value]) => (name.startsWith(start) ? all + value : all), 0);
}

function histogram(count: (name: string) => number, route: string): Sample[] {
  let below = 0;
  const buckets = [...LATENCY_BOUNDS_SEC.map(String), '+Inf'].map((le): Sample => {
    below += count(`latency|${route}|${le === '+Inf' ? 'more' : le}`);
    return { suffix: '_bucket', labels: { route, le }, value: below };
  });
  return [
    ...buckets,
    { suffix: '_sum', labels: { route }, value: count(`latency_ms|${route}`) / SECOND_MS },
    { suffix: '_count', labels: { route }, value: below },
  ];
}

function reader(counters: Counters): (name: string) => number {
  return (name) => counters[name] ?? 0;
}

function counter(name: string, help: string, samples: readonly Sample[]): Family {
  return { name: `${PREFIX}${name}`, type: 'counter', help, samples };
}

function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name: `${PREFIX}${name}`, type: 'gauge', help, samples };
}

function sum(reports: readonly WorkerReport[], pick: (report: WorkerReport) => number): number {
  return reports.reduce((all, report) => all + pick(report), 0);
}
