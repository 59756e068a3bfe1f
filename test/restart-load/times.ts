/** How long things took, in milliseconds. */
export class Times {
  readonly #all: number[] = [];

  add(milliseconds: number): void {
    this.#all.push(milliseconds);
  }

  summary(): TimesSummary {
    const sorted = this.#all.toSorted((a, b) => a - b);
    const at = (share: number): number =>
      Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 10) / 10;
    return { count: sorted.length, p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}

export interface TimesSummary {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}
