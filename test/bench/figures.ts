/** Middle value; the mean of the two middle ones for an even count. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** One line of a comparison: smallest, middle and largest of the rounds. */
export function spread(values: readonly number[], digits = 0): string {
  const shown = [Math.min(...values), median(values), Math.max(...values)].map((value) => value.toFixed(digits));
  return shown.map((text) => text.padStart(8)).join('');
}

/** Ratios round by round, so that a machine that slows down in the middle does not count. */
export function ratios(values: readonly number[], others: readonly number[]): number[] {
  return values.map((value, index) => value / (others[index] ?? Number.NaN));
}
