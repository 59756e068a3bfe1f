import { type Shape, ShapeError } from '@metalhub/base/shape.js';

/**
 * Numbers that only grow, by name: `<what>|<label>|…`, such as `requests|server|200`. Sparse: what is 0 is not there.
 * Generations of several versions of the package report them side by side, so names are kept, never given another meaning.
 */
export type Counters = Readonly<Record<string, number>>;

const NAME = /^[a-z0-9_.+-]{1,40}(?:\|[a-z0-9_.+-]{1,40}){0,3}$/;
/** Far above what a worker has; a bound against nonsense. */
const MAX_COUNTERS = 5000;

export const countersShape: Shape<Counters> = (value, path) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ShapeError(`${path}: expected counters`);
  const entries: [string, unknown][] = Object.entries(value);
  if (entries.length > MAX_COUNTERS) throw new ShapeError(`${path}: expected at most ${MAX_COUNTERS} counters`);
  const checked = entries.map(([name, count]): [string, number] => {
    if (!NAME.test(name)) throw new ShapeError(`${path}: no counter's name`);
    if (typeof count !== 'number' || !Number.isFinite(count) || count < 0)
      throw new ShapeError(`${path}.${name}: expected a number from 0`);
    return [name, count];
  });
  return Object.fromEntries(checked);
};

export function addCounters(all: readonly Counters[]): Counters {
  const sum = new Map<string, number>();
  for (const counters of all) {
    for (const [name, count] of Object.entries(counters)) sum.set(name, (sum.get(name) ?? 0) + count);
  }
  return Object.fromEntries(sum);
}
