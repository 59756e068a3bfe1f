const FACTORS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** How the configuration has sizes. */
export const BYTES_PATTERN = '^([0-9]{1,15}[KMGT]?)?$';

const MIN_MEMORY_BYTES = 64 * 2 ** 20;
const MAX_MEMORY_BYTES = 2 ** 50;

/** What is wrong with a limit that a server can run with. */
export function memoryMistake(text: string): string | undefined {
  const bytes = parseBytes(text);
  if (bytes === undefined || (bytes >= MIN_MEMORY_BYTES && bytes <= MAX_MEMORY_BYTES)) return undefined;
  return 'must lie between 64M and 1024T';
}

/** What is wrong with other sizes of memory: these may be none at all. */
export function shareMistake(text: string): string | undefined {
  return (parseBytes(text) ?? 0) > MAX_MEMORY_BYTES ? 'must not be more than 1024T' : undefined;
}

/** Bytes of `4G`, `512M`, `1000`; `undefined` for the empty text, which means no limit. */
export function parseBytes(text: string): number | undefined {
  const match = /^([0-9]+)([KMGT]?)$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * (FACTORS[match[2] ?? ''] ?? 1);
}
