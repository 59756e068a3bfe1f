const FACTORS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes of `4G`, `512M`, `1000`; `undefined` for the empty text, which means no limit. */
export function parseBytes(text: string): number | undefined {
  const match = /^([0-9]+)([KMGT]?)$/.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * (FACTORS[match[2] ?? ''] ?? 1);
}
