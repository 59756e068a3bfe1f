/** Connections one address may have open; a class behind one router shares an address. */
export const MAX_PER_SOURCE = 2048;
/** In all; each may need a second descriptor for its server, of LimitNOFILE=65536. */
export const MAX_CONNECTIONS = 24_000;

/** Counts open connections per source: an IPv4 address, or the /64 of an IPv6 address. */
export class ConnectionLimit {
  readonly #counts = new Map<string, number>();
  readonly #maxTotal: number;
  readonly #maxPerSource: number;
  #total = 0;

  /** @param maxTotal when there are descriptors for fewer than usual; then a source has half of them */
  constructor(maxTotal: number = MAX_CONNECTIONS) {
    this.#maxTotal = maxTotal;
    this.#maxPerSource = Math.min(MAX_PER_SOURCE, Math.ceil(maxTotal / 2));
  }

  get isFull(): boolean {
    return this.#total >= this.#maxTotal;
  }

  /** @returns false when there are too many already; then it is not counted */
  enter(address: string): boolean {
    const source = sourceOf(address);
    const count = this.#counts.get(source) ?? 0;
    if (this.#total >= this.#maxTotal) return false;
    // A web server in front of this proxy speaks for everybody.
    if (count >= this.#maxPerSource && !isLoopback(source)) return false;
    this.#counts.set(source, count + 1);
    this.#total++;
    return true;
  }

  leave(address: string): void {
    const source = sourceOf(address);
    const count = this.#counts.get(source) ?? 0;
    if (count <= 1) this.#counts.delete(source);
    else this.#counts.set(source, count - 1);
    this.#total--;
  }
}

function sourceOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, '');
  if (!plain.includes(':')) return plain;
  const [front = '', back = ''] = plain.split('::');
  const head = front === '' ? [] : front.split(':');
  const tail = back === '' ? [] : back.split(':');
  const zeros = plain.includes('::') ? Array<string>(Math.max(0, 8 - head.length - tail.length)).fill('0') : [];
  return plain === '::1' ? plain : `${[...head, ...zeros, ...tail].slice(0, 4).join(':')}::/64`;
}

function isLoopback(source: string): boolean {
  return source === '::1' || source.startsWith('127.');
}
