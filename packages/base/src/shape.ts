/**
 * Checks of what comes over a socket, without a dependency: the root daemon's bundle holds no schema library.
 *
 * A shape turns `unknown` into a typed value or throws {@link ShapeError} naming the place. Objects are closed: an
 * unknown key refuses the whole message, it is never ignored.
 */
export type Shape<T> = (value: unknown, path: string) => T;
export type Shaped<S> = S extends Shape<infer T> ? T : never;

export class ShapeError extends Error {
  override readonly name = 'ShapeError';
}

function fail(path: string, expected: string): never {
  throw new ShapeError(`${path === '' ? 'message' : path}: expected ${expected}`);
}

export function text(options: { pattern?: RegExp; min?: number; max: number }): Shape<string> {
  return (value, path) => {
    if (typeof value !== 'string') return fail(path, 'text');
    if (value.length < (options.min ?? 0)) return fail(path, `at least ${options.min} characters`);
    if (value.length > options.max) return fail(path, `at most ${options.max} characters`);
    if (options.pattern !== undefined && !options.pattern.test(value))
      return fail(path, `text like ${options.pattern}`);
    return value;
  };
}

export function integer(min: number, max: number): Shape<number> {
  return (value, path) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      return fail(path, `a whole number from ${min} to ${max}`);
    }
    return value;
  };
}

export function boolean(): Shape<boolean> {
  return (value, path) => (typeof value === 'boolean' ? value : fail(path, 'true or false'));
}

export function oneOf<const T extends readonly string[]>(...choices: T): Shape<T[number]> {
  return (value, path) =>
    typeof value === 'string' && choices.includes(value) ? value : fail(path, `one of ${choices.join(', ')}`);
}

/** A value that a guard of ours recognises, such as a branded name. */
export function guarded<T>(guard: (value: unknown) => value is T, expected: string): Shape<T> {
  return (value, path) => (guard(value) ? value : fail(path, expected));
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, path) => (value === null ? null : shape(value, path));
}

/** Marks a key of {@link object} that may be absent. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  const wrapped: Shape<T | undefined> = (value, path) => (value === undefined ? undefined : shape(value, path));
  return Object.assign(wrapped, { optional: true });
}

export function list<T>(shape: Shape<T>, max: number): Shape<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) return fail(path, 'a list');
    if (value.length > max) return fail(path, `at most ${max} entries`);
    return value.map((entry, index) => shape(entry, `${path}[${index}]`));
  };
}

/** An object with any keys that match, each with a value of the same shape. */
export function record<T>(key: RegExp, shape: Shape<T>, max: number): Shape<Readonly<Record<string, T>>> {
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail(path, 'an object');
    const entries = Object.entries(value);
    if (entries.length > max) return fail(path, `at most ${max} keys`);
    return Object.fromEntries(
      entries.map(([name, entry]) => {
        if (!key.test(name)) return fail(path, `keys like ${key}`);
        return [name, shape(entry, `${path}.${name}`)];
      }),
    );
  };
}

/** The same keys, none of them needed. */
export function partial<S extends Record<string, Shape<unknown>>>(shapes: S) {
  const entries = Object.entries(shapes).map(([name, shape]) => [name, optional(shape)]);
  return object(Object.fromEntries(entries) as { [K in keyof S]: Shape<Shaped<S[K]> | undefined> });
}

/** Whether {@link object} leaves out keys that it does not know; set by {@link tolerant} while its shape checks. */
let dropsUnknownKeys = false;

/**
 * The same shape, but keys that it does not know are left out: for messages between two versions of one program, of
 * which the other may be the newer one. Never for what an untrusted peer sends.
 */
export function tolerant<T>(shape: Shape<T>): Shape<T> {
  return (value, path) => {
    const before = dropsUnknownKeys;
    dropsUnknownKeys = true;
    try {
      return shape(value, path);
    } finally {
      dropsUnknownKeys = before;
    }
  };
}

type ObjectOf<S extends Record<string, Shape<unknown>>> = {
  [K in keyof S as undefined extends Shaped<S[K]> ? never : K]: Shaped<S[K]>;
} & { [K in keyof S as undefined extends Shaped<S[K]> ? K : never]?: Exclude<Shaped<S[K]>, undefined> };

export function object<S extends Record<string, Shape<unknown>>>(shapes: S): Shape<ObjectOf<S>> {
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail(path, 'an object');
    const source = value as Record<string, unknown>;
    for (const key of Object.keys(source)) {
      if (!dropsUnknownKeys && !Object.hasOwn(shapes, key))
        return fail(path, `no key ${JSON.stringify(key.slice(0, 64))}`);
    }
    const result: Record<string, unknown> = {};
    for (const [key, shape] of Object.entries(shapes)) {
      const present = Object.hasOwn(source, key) ? source[key] : undefined;
      const checked = shape(present, path === '' ? key : `${path}.${key}`);
      if (checked !== undefined) result[key] = checked;
    }
    return result as ObjectOf<S>;
  };
}
