import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { type Clock, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import { Penalties, type PenaltyRules } from './penalties.js';

const NAME_RULES: PenaltyRules = {
  perFailureMs: 5 * SECOND_MS,
  enforceFromMs: 15 * SECOND_MS,
  capMs: 10 * MINUTE_MS,
  maxEntries: 65_536,
};
/** A classroom shares one address and mistypes together, so more has to add up before it counts. */
const ADDRESS_RULES: PenaltyRules = { ...NAME_RULES, enforceFromMs: 45 * SECOND_MS };

/** Slows down guessing, per name and per address. Subjects are hashes: people type passwords into the name field. */
export class Throttle {
  readonly names: Penalties;
  readonly addresses: Penalties;

  constructor(clock: Clock) {
    this.names = new Penalties(NAME_RULES, clock);
    this.addresses = new Penalties(ADDRESS_RULES, clock);
  }

  /** @param isKnownSource the name has logged in from there before: others' guesses do not lock its owner out */
  blockedForMs(name: string, address: string, isKnownSource: boolean): number {
    const nameMs = isKnownSource ? 0 : this.names.blockedForMs(subjectOf(name));
    return Math.max(nameMs, this.addresses.blockedForMs(subjectOf(addressBlock(address))));
  }

  isNameBlocked(name: string): boolean {
    return this.names.blockedForMs(subjectOf(name)) > 0;
  }

  /** @returns true when this failure is the one that begins a block, which is worth a line in the log */
  noteFailure(name: string, address: string): boolean {
    const isNameNew = this.names.add(subjectOf(name));
    const isAddressNew = this.addresses.add(subjectOf(addressBlock(address)));
    return isNameNew || isAddressNew;
  }

  /** The name only: somebody with an account of their own must not wipe what their address has tried on others. */
  noteSuccess(name: string): void {
    this.names.forgive(subjectOf(name));
  }
}

/** What one customer of a network provider has: an IPv4 address, or the /64 of an IPv6 address. */
export function addressBlock(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.toLowerCase().replace(/%.*$/, '').split('::');
  const left = head === '' ? [] : head.split(':');
  if (tail === undefined) return `${left.slice(0, 4).join(':')}::/64`;
  const right = tail === '' ? [] : tail.split(':');
  const zeros = Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0');
  return `${[...left, ...zeros, ...right].slice(0, 4).join(':')}::/64`;
}

function subjectOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
