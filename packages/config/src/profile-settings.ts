/** Lists and tables that grow with each layer; everything else is replaced. */
const ADDED: ReadonlySet<string> = new Set(['mounts', 'variables']);

/** Lays overrides and options over a profile's settings, in this order. */
export function mergeSettings<T extends object>(base: T, ...layers: readonly Partial<T>[]): T {
  const result = { ...base } as Record<string, unknown>;
  for (const layer of layers) {
    for (const [key, value] of Object.entries(layer)) {
      if (value === undefined) continue;
      result[key] = ADDED.has(key) ? add(result[key], value) : value;
    }
  }
  return result as T;
}

function add(before: unknown, value: unknown): unknown {
  if (Array.isArray(before) && Array.isArray(value)) return [...before, ...value];
  return { ...(before as object), ...(value as object) };
}

/** The processors of `0-3,6`; `undefined` when a range runs backwards. */
export function parseCpuSet(text: string): number[] | undefined {
  const result = new Set<number>();
  for (const part of text.split(',').filter((part) => part !== '')) {
    const [first = 0, last = first] = part.split('-').map(Number);
    if (last < first) return undefined;
    for (let cpu = first; cpu <= last; cpu++) result.add(cpu);
  }
  return [...result].sort((a, b) => a - b);
}
