import { isIPv4 } from 'node:net';

const AF_INET = 2;
const AF_INET6 = 10;

/** As systemd takes it: family, the address's bytes, length of the prefix. */
export type AddressMask = [family: number, address: Buffer, prefix: number];

/** `any`, an address or a range, as checked in metalhub.toml. */
export function addressMasks(text: string): AddressMask[] {
  if (text === 'any') {
    return [
      [AF_INET, Buffer.alloc(4), 0],
      [AF_INET6, Buffer.alloc(16), 0],
    ];
  }
  const [address = '', bits] = text.split('/');
  const bytes = isIPv4(address) ? Buffer.from(address.split('.').map(Number)) : ipv6Bytes(address);
  const prefix = bits === undefined ? bytes.length * 8 : Number(bits);
  return [[bytes.length === 4 ? AF_INET : AF_INET6, cleared(bytes, prefix), prefix]];
}

function ipv6Bytes(address: string): Buffer {
  // The URL parser writes every form of an address in the same way: groups of hex digits, at most one gap.
  const plain = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  const [before = [], after = []] = plain.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const gap = new Array<string>(8 - before.length - after.length).fill('0');
  const bytes = Buffer.alloc(16);
  for (const [index, group] of [...before, ...gap, ...after].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  }
  return bytes;
}

/** Bits behind the prefix are zero, as systemd wants them. */
function cleared(bytes: Buffer, prefix: number): Buffer {
  return Buffer.from(
    bytes.map((byte, index) => {
      const kept = Math.min(8, Math.max(0, prefix - index * 8));
      return byte & (0xff << (8 - kept)) & 0xff;
    }),
  );
}
