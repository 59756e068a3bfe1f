import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { metricsFamilies } from './metrics-page.js';
import { type Family, formatMetrics } from './metrics-text.js';

// The parser of Prometheus' own Python client. Jupyter Server depends on it, so it is there where Jupyter is.
const PARSER = `
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
print(json.dumps([[f.name, f.type, f.documentation, [[s.name, s.labels, repr(s.value)] for s in f.samples]] for f in parse(sys.stdin.read())]))
`;

interface Parsed {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly (readonly [string, Readonly<Record<string, string>>, string])[];
}

/** By name, as the parser has it: counters without `_total`. */
function parse(text: string): Map<string, Parsed> {
  const { stdout, stderr, status } = spawnSync('python3', ['-c', PARSER], { input: text, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const families: [string, string, string, Parsed['samples']][] = JSON.parse(stdout);
  return new Map(families.map(([name, type, help, samples]) => [name, { type, help, samples }]));
}

t.test('every character and number comes out of another parser as it went in', async (t) => {
  const evil = 'back\\slash "quoted"\nnext line \\n { } = , é';
  const families: Family[] = [
    {
      name: 'a_total',
      type: 'counter',
      help: `line one\nline two \\ ${'"'}`,
      samples: [{ labels: { evil }, value: 1e21 }],
    },
    {
      name: 'b',
      type: 'gauge',
      help: 'x',
      samples: [
        { labels: { of: 'nan' }, value: Number.NaN },
        { labels: { of: 'inf' }, value: Number.POSITIVE_INFINITY },
        { labels: { of: 'small' }, value: -1.5e-7 },
        { value: 0 },
      ],
    },
  ];
  const parsed = parse(formatMetrics(families));
  t.same(parsed.get('a'), {
    type: 'counter',
    help: 'line one\nline two \\ "',
    samples: [['a_total', { evil }, '1e+21']],
  });
  t.same(
    parsed.get('b')?.samples.map(([, , value]) => value),
    ['nan', 'inf', '-1.5e-07', '0.0'],
  );
});

t.test('all families are understood, histograms add up, codes that a server made up become one', async (t) => {
  const counters = {
    'requests|server|200': 5,
    'requests|server|204': 1,
    'requests|server|101': 2,
    'requests|server|599': 3,
    'requests|server|other': 1,
    'requests|none|400': 9,
    'latency|server|0.001': 4,
    'latency|server|0.5': 3,
    'latency|server|more': 1,
    'latency_ms|server': 12_345,
    upgrades: 2,
    'api_requests|201': 1,
    'api|add': 1,
    cpu_ms: 1500,
  };
  const worker = { pid: 2, draining: false, started_ms: 3, connections: 1, tunnels: 0, activity: [] };
  const reports = [
    { ...worker, generation: 2, index: 0, rss_bytes: 5, open_fds: 50 },
    { ...worker, generation: 2, index: 1, rss_bytes: 6, open_fds: 60 },
    { ...worker, generation: 1, index: 0, rss_bytes: 7 },
  ];
  const input = { version: '1.2.3', reports, counters, routes: 3, revocations: 1, uptimeSec: 10, nowMs: 1e12 };
  const text = formatMetrics(metricsFamilies(input));
  const parsed = parse(text);
  const names = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
  t.equal(parsed.size, names.length, 'every family once');
  for (const [name, { type, help, samples }] of parsed) {
    t.not(type, 'unknown', name);
    t.not(help, '', name);
    t.equal(new Set(samples.map(([sample, labels]) => JSON.stringify([sample, labels]))).size, samples.length, name);
  }
  const value = (family: string, sample: string, labels: Record<string, string> = {}): number => {
    const wanted = JSON.stringify(labels);
    const found = parsed.get(family)?.samples.find(([name, own]) => name === sample && JSON.stringify(own) === wanted);
    return Number(found?.[2]);
  };
  const requests = (route: string, code: string): number =>
    value('metalhub_proxy_requests', 'metalhub_proxy_requests_total', { route, code });
  t.equal(requests('server', '2xx'), 6);
  t.equal(requests('server', '1xx'), 2);
  t.equal(requests('server', 'other'), 1);
  t.equal(requests('none', '4xx'), 9);
  t.equal(requests('hub', '5xx'), 0, 'there from the start, so that a rate can be computed');
  const duration = 'metalhub_proxy_request_duration_seconds';
  t.equal(value(duration, `${duration}_bucket`, { route: 'server', le: '0.001' }), 4);
  t.equal(value(duration, `${duration}_bucket`, { route: 'server', le: '0.25' }), 4);
  t.equal(value(duration, `${duration}_bucket`, { route: 'server', le: '+Inf' }), 8);
  t.equal(value(duration, `${duration}_count`, { route: 'server' }), 8);
  t.equal(value(duration, `${duration}_sum`, { route: 'server' }), 12.345);
  const fds = 'metalhub_proxy_worker_open_fds';
  t.equal(value(fds, fds, { generation: '2', worker: '1' }), 60, 'each worker of a generation by itself');
  // Names without `_total`, which the parser adds, are configurable-http-proxy's.
  t.equal(value('requests_web', 'requests_web_total'), 19);
  t.equal(value('requests_ws', 'requests_ws_total'), 2);
  t.equal(value('requests_proxy', 'requests_proxy_total', { status: '200' }), 5);
  t.equal(value('requests_proxy', 'requests_proxy_total', { status: 'other' }), 4);
  t.equal(value('requests_api', 'requests_api_total', { status: '201' }), 1);
  t.equal(value('metalhub_proxy_worker_cpu_seconds', 'metalhub_proxy_worker_cpu_seconds_total'), 1.5);
});

t.test('the documentation names every family, and none that is not there', async (t) => {
  const input = { version: '', reports: [], counters: {}, routes: 1, revocations: 0, uptimeSec: 0, nowMs: 0 };
  const names = metricsFamilies(input).map(({ name }) => name);
  const page = readFileSync(new URL('../../../docs/monitoring.md', import.meta.url), 'utf8');
  const section = page.slice(page.indexOf('## What there is'), page.indexOf('## Worth an alert'));
  const documented = [...section.matchAll(/`((?:metalhub_proxy|requests|api_route)_[a-z_]+)`/g)].map(
    ([, name]) => name,
  );
  t.same([...names].sort(), [...documented].sort());
});
