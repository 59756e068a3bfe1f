/**
 * How likely two samples of one distribution are to lie as far apart as these two (Mann-Whitney U, two-sided, normal
 * approximation with ties): small when values of one tend to be larger. For samples of 20 and more.
 */
export function rankTest(first: readonly number[], second: readonly number[]): number {
  const [m, n] = [first.length, second.length];
  const all = [...first, ...second].sort((a, b) => a - b);
  const rankOf = new Map<number, number>();
  let ties = 0;
  for (let begin = 0, end = 0; begin < all.length; begin = end) {
    while (end < all.length && all[end] === all[begin]) end++;
    rankOf.set(all[begin] ?? Number.NaN, (begin + 1 + end) / 2);
    ties += (end - begin) ** 3 - (end - begin);
  }
  const rankSum = first.reduce((sum, value) => sum + (rankOf.get(value) ?? Number.NaN), 0);
  const u = rankSum - (m * (m + 1)) / 2;
  const total = m + n;
  const variance = ((m * n) / 12) * (total + 1 - ties / (total * (total - 1)));
  if (variance <= 0) return 1;
  const z = Math.max(0, Math.abs(u - (m * n) / 2) - 0.5) / Math.sqrt(variance);
  return 2 * upperTail(z);
}

/** The same question for any difference of the distributions, also of their width (Kolmogorov-Smirnov, two-sided). */
export function shapeTest(first: readonly number[], second: readonly number[]): number {
  const [a, b] = [sorted(first), sorted(second)];
  let distance = 0;
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const value = Math.min(a[i] ?? Number.NaN, b[j] ?? Number.NaN);
    while (i < a.length && a[i] === value) i++;
    while (j < b.length && b[j] === value) j++;
    distance = Math.max(distance, Math.abs(i / a.length - j / b.length));
  }
  const root = Math.sqrt((a.length * b.length) / (a.length + b.length));
  const lambda = (root + 0.12 + 0.11 / root) * distance;
  // Below, the series does not converge, and the value is 1 to many digits.
  if (lambda < 0.3) return 1;
  let sum = 0;
  for (let k = 1; k <= 100; k++) sum += (k % 2 === 1 ? 2 : -2) * Math.exp(-2 * k * k * lambda * lambda);
  return Math.min(1, Math.max(0, sum));
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** P(Z > z) of the normal distribution for z >= 0; error below 1e-7. @see Abramowitz and Stegun, 26.2.17 */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const polynomial = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}
