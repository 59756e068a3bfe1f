import { request } from 'node:http';
import { cpuMicroseconds } from './processes.js';
import type { Row } from './rows.js';

/** How a proxy's routes are changed while it runs. */
export interface RouteApi {
  add(name: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** @returns how many there are */
  count(): Promise<number>;
}

/** The same words for all. */
export const ROUTES_PRESENT = 'request of a browser with all of them: CPU µs';

const PARALLEL = 32;
const MOST_MS = 45_000;

/** Adds, lists and removes so many routes, and measures between with `whilePresent`. */
export async function measureRoutes(
  proxy: { name: string; pid: number },
  api: RouteApi,
  options: { count: number; whilePresent: () => Promise<number> },
): Promise<Row[]> {
  const rows: Row[] = [];
  const add = (what: string, value: number): void => void rows.push({ what, who: proxy.name, value });
  const before = await api.count();
  const added = await inParallel(proxy.pid, options.count, (index) => api.add(`u${index}`));
  add('routes added in at most 45 s', added.done);
  add('adding a route: ms', added.milliseconds / added.done);
  add('adding a route: CPU µs', added.cpu / added.done);
  const cpu = cpuMicroseconds(proxy.pid);
  const startedMs = performance.now();
  if ((await api.count()) !== before + added.done) throw new Error(`${proxy.name} lost routes`);
  add('listing them: ms', performance.now() - startedMs);
  add('listing them: CPU ms', (cpuMicroseconds(proxy.pid) - cpu) / 1000);
  add(ROUTES_PRESENT, await options.whilePresent());
  const removed = await inParallel(proxy.pid, added.done, (index) => api.remove(`u${index}`));
  add('removing a route: ms', removed.milliseconds / removed.done);
  add('removing a route: CPU µs', removed.cpu / removed.done);
  return rows;
}

async function inParallel(
  pid: number,
  count: number,
  one: (index: number) => Promise<void>,
): Promise<{ done: number; milliseconds: number; cpu: number }> {
  const cpu = cpuMicroseconds(pid);
  const startedMs = performance.now();
  let next = 0;
  async function work(): Promise<void> {
    while (next < count && performance.now() - startedMs < MOST_MS) await one(next++);
  }
  await Promise.all(Array.from({ length: PARALLEL }, work));
  return { done: next, milliseconds: performance.now() - startedMs, cpu: cpuMicroseconds(pid) - cpu };
}

/** One call of a REST API. */
export function callApi(
  where: { socketPath: string } | { port: number },
  method: string,
  path: string,
  options: { body?: unknown; token?: string } = {},
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const text = options.body === undefined ? '' : JSON.stringify(options.body);
    const headers = {
      ...(options.body !== undefined && { 'content-type': 'application/json' }),
      'content-length': Buffer.byteLength(text),
      ...(options.token !== undefined && { authorization: `token ${options.token}` }),
    };
    const call = request({ host: '127.0.0.1', ...where, method, path, headers }, (response) => {
      let got = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        got += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: got }));
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end(text);
  });
}

export async function expectStatus(answer: Promise<{ status: number; text: string }>, status: number): Promise<string> {
  const got = await answer;
  if (got.status !== status) throw new Error(`${got.status} instead of ${status}: ${got.text}`);
  return got.text;
}
