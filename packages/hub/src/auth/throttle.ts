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

/** Who tries to log in. */
export interface LoginSource {
  readonly name: string;
  readonly address: string;
  /** The name has logged in from the address before. */
  readonly isKnown: boolean;
}

/**
 * Slows down guessing, per name and per address. Subjects are hashes: people type passwords into the name field.
 *
 * A name at an address from which it has logged in before counts by itself: what others try elsewhere, or try on other
 * names behind the same address (a classroom, a reverse proxy), does not lock its owner out.
 */
export class Throttle {
  readonly names: Penalties;
  readonly addresses: Penalties;
  readonly knownSources: Penalties;

  constructor(clock: Clock) {
    this.names = new Penalties(NAME_RULES, clock);
    this.addresses = new Penalties(ADDRESS_RULES, clock);
    this.knownSources = new Penalties(NAME_RULES, clock);
  }

  /** Milliseconds for which an attempt is refused without looking at the password; 0 when it is not. */
  blockedForMs(source: LoginSource): number {
    if (source.isKnown) return this.knownSources.blockedForMs(pairOf(source));
    const { name, address } = source;
    const nameMs = this.names.blockedForMs(subjectOf(name));
    return isLocal(address) ? nameMs : Math.max(nameMs, this.addresses.blockedForMs(blockOf(address)));
  }

  /** @returns true when this failure is the one that begins a block, which is worth a line in the log */
  noteFailure(source: LoginSource): boolean {
    const { name, address, isKnown } = source;
    const isNameNew = isKnown ? this.knownSources.add(pairOf(source)) : this.names.add(subjectOf(name));
    const isAddressNew = !isLocal(address) && this.addresses.add(blockOf(address));
    return isNameNew || isAddressNew;
  }

  /**
   * Forgives its own mistakes only. Not the address: somebody with an account must not wipe what was tried on others;
   * and an owner who logs in as always does not make room for those who guess at the name elsewhere.
   */
  noteSuccess(source: LoginSource): void {
    if (source.isKnown) this.knownSources.forgive(pairOf(source));
    else this.names.forgive(subjectOf(source.name));
  }
}

/**
 * Whether the address is this machine's own, which tells nobody from anybody: behind a web server that encrypts on the
 * same machine all visitors have it. It is neither slowed down nor known; names count alone.
 */
export function isLocal(address: string): boolean {
  return address === '127.0.0.1' || address === '::1';
}

function pairOf({ name, address }: LoginSource): string {
  return subjectOf(`${addressBlock(address)} ${name}`);
}

function blockOf(address: string): string {
  return subjectOf(addressBlock(address));
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
