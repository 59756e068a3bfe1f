import { constants } from 'node:os';
import { MetalhubError } from '@metalhub/base/errors.js';
import koffi from 'koffi';

// The package's only import of koffi. libsystemd is not loaded at all: notify and journal datagrams need no more than
// libc, which is in the process anyway, while libsystemd costs 1.2 MB and up to 10 ms (measured on Debian 12).
const LIBC = 'libc.so.6';

type TypeSpec = Parameters<typeof koffi.sizeof>[0];
export type NativeType = ReturnType<typeof koffi.struct>;

/** A function of libc, looked up at its first call. */
export type NativeFunction<A extends unknown[], R> = ((...args: A) => R) & {
  /** Runs on a thread of libuv's pool: for calls that may wait for a disk or a network. `errno` is not available. */
  inBackground(...args: A): Promise<R>;
  /** The function itself: a quarter faster, for those who call it by the million. */
  direct(): (...args: A) => R;
};

/**
 * Declares a function of libc. Nothing is loaded before the first call.
 *
 * @param parameters koffi types; `'...'` as the last one for a variadic function, whose further arguments are given as
 * type and value alternately
 * @throws {MH_ERR_SYSTEMD_LIBRARY} at the first call, when libc has no such function
 */
export function libcFunction<A extends unknown[], R>(
  name: string,
  result: TypeSpec,
  parameters: TypeSpec[],
): NativeFunction<A, R> {
  let bound: ReturnType<typeof bind> | undefined;
  function call(...args: A): R {
    bound ??= bind(name, result, parameters);
    return bound(...args);
  }
  function inBackground(...args: A): Promise<R> {
    bound ??= bind(name, result, parameters);
    const run = bound.async;
    return new Promise((resolve, reject) => {
      run(...args, (error: unknown, value: R) => {
        if (error === null || error === undefined) resolve(value);
        else reject(libraryError(name, 0, error));
      });
    });
  }
  function direct(): (...args: A) => R {
    bound ??= bind(name, result, parameters);
    return bound;
  }
  return Object.assign(call, { inBackground, direct });
}

/** `errno` of the last call made on this thread. */
export function lastErrno(): number {
  return koffi.errno();
}

/** A MH_ERR_SYSTEMD_LIBRARY for a failed call; `details.errno` is 0 when there is none. */
export function libraryError(call: string, errno: number, cause?: unknown): MetalhubError {
  const reason = errno === 0 && cause instanceof Error ? cause.message : errnoName(errno);
  return new MetalhubError('MH_ERR_SYSTEMD_LIBRARY', { details: { call, reason, errno }, cause });
}

export function nativeStruct(members: Record<string, string>): NativeType {
  return koffi.struct(members);
}

export function sizeOf(type: NativeType): number {
  return koffi.sizeof(type);
}

/** Where a buffer's memory is, for structs that point to each other; only while the buffer is referred to elsewhere. */
export function addressOf(memory: Buffer): bigint {
  return BigInt(koffi.address(memory));
}

/** Reads a C struct out of memory; `char *` members become text, NULL becomes `null`. */
export function decodeStruct(memory: Buffer, type: NativeType): Record<string, unknown> {
  return koffi.decode(memory, type);
}

/** Reads a NULL-terminated array of C strings, at most `limit` of them. */
export function decodeStringArray(pointer: unknown, limit: number): string[] {
  const strings: string[] = [];
  if (pointer === null || pointer === undefined) return strings;
  while (strings.length < limit) {
    const text: unknown = koffi.decode(pointer, strings.length * koffi.sizeof('void *'), 'const char *');
    if (typeof text !== 'string') break;
    strings.push(text);
  }
  return strings;
}

function bind(
  name: string,
  result: TypeSpec,
  parameters: TypeSpec[],
): ReturnType<ReturnType<typeof koffi.load>['func']> {
  try {
    return koffi.load(LIBC).func(name, result, parameters);
  } catch (error) {
    throw libraryError(name, 0, error);
  }
}

function errnoName(errno: number): string {
  const match = Object.entries(constants.errno).find(([, value]) => value === errno);
  return match?.[0] ?? `errno ${errno}`;
}

/** Memory at a fixed place, which C can be told by number: passing numbers is the fastest way to call it. */
export interface NativeMemory {
  /** Must be kept as long as the address is used. */
  readonly buffer: Buffer;
  readonly address: number;
}

export function allocateMemory(bytes: number): NativeMemory {
  // Slow: not a part of the pool that small buffers share.
  const buffer = Buffer.allocUnsafeSlow(bytes).fill(0);
  return { buffer, address: Number(koffi.address(buffer)) };
}
