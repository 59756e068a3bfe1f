import { lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/**
 * Addresses that upstreams may have (the unit's IPAddressAllow= says the same, where the kernel can), or whose word about
 * a visitor counts.
 */
export class AddressRanges {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;

  /** @param ranges addresses and ranges (`192.0.2.1`, `10.0.0.0/8`, `fd00::/8`), checked with the configuration */
  constructor(ranges: readonly string[]) {
    this.#isEmpty = ranges.length === 0;
    for (const range of ranges) {
      const [address = '', bits] = range.split('/');
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  allows(address: string): boolean {
    if (this.#isEmpty) return false;
    const plain = plainAddress(address);
    const family = isIP(plain);
    return family !== 0 && this.#list.check(plain, family === 6 ? 'ipv6' : 'ipv4');
  }

  /** Resolves a name to those of its addresses that are allowed: a name cannot lead where an address may not. */
  readonly lookup: LookupFunction = (name, options, callback) => {
    lookup(name, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, '', 0);
      const allowed = found.filter(({ address }) => this.allows(address));
      const [first] = allowed;
      if (first === undefined) return callback(new AddressRefused(), '', 0);
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

export class AddressRefused extends Error {
  override readonly name = 'AddressRefused';
  constructor() {
    super('the address is outside proxy.upstream_ranges');
  }
}

/** An address in its plain form: `::ffff:192.0.2.1` is `192.0.2.1`, a zone is left out. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}
