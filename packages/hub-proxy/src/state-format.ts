import { createHash } from 'node:crypto';
import { isServerName } from '@metalhub/base/names.js';
import { guarded, integer, list, nullable, object, oneOf, type Shape, ShapeError, text } from '@metalhub/base/shape.js';
import {
  MAX_KEYS,
  MAX_REVOCATIONS,
  type ProxyState,
  proxyStateShape,
  publicKeyShape,
  ROUTE_PREFIX_PATTERN,
  type Route,
  revocationShape,
} from './proxy-state.js';

/**
 * The forms in which a state lies on the disk and goes to the generations. The newest is written; older ones are
 * understood for good, because a new package meets the file and the workers of an older one.
 *
 * - 1 (no `format`): every route is a socket, `socket_path`
 * - 2: routes have a `target` and a `host`
 */
export const STATE_FORMAT = 2;

const MAX_ROUTES_1 = 10_000;
const state1Shape = object({
  version: integer(0, Number.MAX_SAFE_INTEGER),
  routes: list(
    object({
      prefix: text({ pattern: ROUTE_PREFIX_PATTERN, max: 4096 }),
      socket_path: text({ pattern: /^\/[^\0]*$/, max: 107 }),
      auth: oneOf('ticket', 'upstream'),
      user: nullable(text({ min: 1, max: 512 })),
      server: nullable(guarded(isServerName, 'a server name')),
      invocation_id: nullable(text({ pattern: /^[0-9a-f]{32}$/, max: 32 })),
      token: nullable(text({ pattern: /^[A-Za-z0-9_-]{43}$/, max: 43 })),
    }),
    MAX_ROUTES_1,
  ),
  keys: list(publicKeyShape, MAX_KEYS),
  revocations: list(revocationShape, MAX_REVOCATIONS),
});

/** Takes a state from a supervisor of any version. */
export const parseState: Shape<ProxyState> = (value, path) => {
  const isObject = typeof value === 'object' && value !== null;
  if (!isObject || !('format' in value)) return fromState1(value, path);
  const { format, ...state } = value;
  if (format !== STATE_FORMAT)
    throw new ShapeError(`${path === '' ? 'message' : path}: expected format ${STATE_FORMAT}`);
  return proxyStateShape(state, path);
};

function fromState1(value: unknown, path: string): ProxyState {
  const { routes, ...rest } = state1Shape(value, path);
  return {
    ...rest,
    routes: routes.map(({ socket_path, ...route }) => ({
      ...route,
      host: null,
      data: null,
      target: { kind: 'unix', path: socket_path },
    })),
  };
}

const STORED = /^\{"format":2,"sum":"([0-9a-f]{64})","state":(.*)\}\n?$/s;

/** What is written to the disk. */
export function formatStored(state: ProxyState): string {
  const text = JSON.stringify(state);
  return `{"format":${STATE_FORMAT},"sum":"${checksum(text)}","state":${text}}\n`;
}

/**
 * Reads what is on the disk, in any form there was.
 * @throws {ShapeError} {SyntaxError} it is damaged
 */
export function parseStored(stored: string): ProxyState {
  const [, sum, text] = STORED.exec(stored) ?? [];
  if (text === undefined) return fromState1(JSON.parse(stored), '');
  if (checksum(text) !== sum) throw new ShapeError('message: expected content that fits its checksum');
  return proxyStateShape(JSON.parse(text), '');
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * What a generation gets.
 * @param format the newest that it understands. Routes that this cannot express are left out: a generation of an older
 *   version has no connection through them, and takes no new ones.
 */
export function formatForGeneration(state: ProxyState, format: number): ProxyState {
  if (format >= STATE_FORMAT) {
    return { format: STATE_FORMAT, ...state, routes: state.routes.map(forGeneration) } as ProxyState;
  }
  const routes = state.routes.flatMap(({ host, target, data: _data, ...route }) =>
    host === null && target.kind === 'unix' && target.base_path === undefined
      ? [{ ...route, socket_path: target.path }]
      : [],
  );
  // Its type is that of what its reader makes of it.
  return { ...state, routes: routes.slice(0, MAX_ROUTES_1) } as object as ProxyState;
}

/** Whose route it is is enough. */
export function forGeneration(route: Route): Route {
  return route.data === null ? route : { ...route, data: {} };
}
