import type { Shape } from '@metalhub/base/shape.js';

/**
 * A protocol is a closed table of requests. Requests travel as `{id, method, params}`, answers as `{id, result}` or
 * `{id, error}`; before its answer a request may send any number of `{id, event}`.
 *
 * The connection is closed on anything malformed, oversized or unknown: a protocol surprise is never repaired.
 */
export interface RequestShape<P, R, E> {
  params: Shape<P>;
  result: Shape<R>;
  event: Shape<E>;
}

export type ProtocolTable = Readonly<Record<string, RequestShape<unknown, unknown, unknown>>>;

export interface Protocol<T extends ProtocolTable> {
  /** Names the peer in errors, e.g. `hub-spawner`. */
  readonly peer: string;
  /** Where it listens. */
  readonly path: string;
  readonly maxFrameBytes: number;
  /** At most so many requests may wait for their answer on one connection. */
  readonly maxPending: number;
  readonly requests: T;
}

export type ParamsOf<T extends ProtocolTable, M extends keyof T> =
  T[M] extends RequestShape<infer P, unknown, unknown> ? P : never;
export type ResultOf<T extends ProtocolTable, M extends keyof T> =
  T[M] extends RequestShape<unknown, infer R, unknown> ? R : never;
export type EventOf<T extends ProtocolTable, M extends keyof T> =
  T[M] extends RequestShape<unknown, unknown, infer E> ? E : never;

/** A shape for requests that send no events. */
export const noEvents: Shape<never> = (_value, path) => {
  throw new TypeError(`${path}: this request sends no events`);
};

export function defineProtocol<T extends ProtocolTable>(protocol: Protocol<T>): Protocol<T> {
  return protocol;
}
