import { plainAddress } from './address-ranges.js';

export interface ConnectionLimits {
  /** Connections one address may have open; a class behind one router shares an address. */
  readonly perSource: number;
  /** In all; each may need a second descriptor for its server, of LimitNOFILE=65536. */
  readonly total: number;
  /** A web server in front of this proxy speaks for everybody. */
  readonly isExempt: (address: string) => boolean;
}

/** Counts open connections per source: an IPv4 address, or the /64 of an IPv6 address. */
export class ConnectionLimit {
  readonly #limits: ConnectionLimits;
  readonly #maxPerSource: number;
  readonly #counts = new Map<string, number>();
  #total = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
    // With descriptors for fewer than usual, a source has half of them.
    this.#maxPerSource = Math.min(limits.perSource, Math.ceil(limits.total / 2));
  }

  get isFull(): boolean {
    return this.#total >= this.#limits.total;
  }

  /** @returns false when there are too many already; then it is not counted */
  enter(address: string): boolean {
    const source = sourceOf(address);
    const count = this.#counts.get(source) ?? 0;
    if (this.#total >= this.#limits.total) return false;
    const isFull = count >= this.#maxPerSource;
    if (isFull && !isLoopback(source) && !this.#limits.isExempt(plainAddress(address))) return false;
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

/** What counts as one visitor: an IPv4 address, or the /64 of an IPv6 address. */
export function sourceOf(address: string): string {
  const plain = plainAddress(address);
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
