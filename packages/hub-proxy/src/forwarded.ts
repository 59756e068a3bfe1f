import { isIP } from 'node:net';
import { plainAddress } from './address-ranges.js';
import type { HeaderField } from './header-fields.js';

/** What a web server in front said of a request. */
export interface Forwarded {
  /** The visitor's address, as far as a trusted server vouches for it. */
  readonly address: string | undefined;
  readonly proto: string | undefined;
  readonly host: string | undefined;
}

const NOTHING: Forwarded = { address: undefined, proto: undefined, host: undefined };

/**
 * Reads X-Forwarded-For, -Proto and -Host of a request that a trusted server sent; `Forwarded` only where there is none
 * of them, since a server that writes one kind passes on what its own clients put into the other.
 *
 * Each server appends the address that it saw. So the list is read from its end, as long as trusted servers wrote it:
 * what is left of the first address that is not trusted was written by anybody.
 *
 * @param isTrusted whether an address is one of the servers in front
 */
export function readForwarded(fields: readonly HeaderField[], isTrusted: (address: string) => boolean): Forwarded {
  const chain = valuesOf(fields, 'x-forwarded-for');
  const proto = valuesOf(fields, 'x-forwarded-proto').at(-1);
  const host = valuesOf(fields, 'x-forwarded-host').at(-1);
  if (chain.length > 0 || proto !== undefined || host !== undefined) {
    return { address: findVisitor(chain, isTrusted), proto: proto?.toLowerCase(), host };
  }
  const elements = readElements(fields.filter(({ lower }) => lower === 'forwarded').map(({ value }) => value));
  const last = elements?.at(-1);
  if (elements === undefined || last === undefined) return NOTHING;
  const addresses = elements.map((element) => element.get('for') ?? '');
  return {
    address: findVisitor(addresses, isTrusted),
    proto: last.get('proto')?.toLowerCase(),
    host: last.get('host'),
  };
}

/** Members of a list that may stand in several lines. */
function valuesOf(fields: readonly HeaderField[], lower: string): string[] {
  const lines = fields.filter((field) => field.lower === lower).map(({ value }) => value);
  return lines.length === 0
    ? []
    : lines
        .join(',')
        .split(',')
        .map((member) => member.trim());
}

function findVisitor(chain: readonly string[], isTrusted: (address: string) => boolean): string | undefined {
  let visitor: string | undefined;
  for (const text of chain.toReversed()) {
    const address = parseNode(text);
    if (address === undefined) break;
    visitor = address;
    if (!isTrusted(address)) break;
  }
  return visitor;
}

/** `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; not `unknown` or `_hidden`. */
function parseNode(text: string): string | undefined {
  const inner = /^\[([^\]]*)\](?::[0-9]{1,5})?$/.exec(text)?.[1] ?? /^([0-9.]+):[0-9]{1,5}$/.exec(text)?.[1] ?? text;
  const address = plainAddress(inner);
  return isIP(address) === 0 ? undefined : address.toLowerCase();
}

/** `undefined` when the field is malformed. @see RFC 7239 section 4 */
function readElements(lines: readonly string[]): ReadonlyMap<string, string>[] | undefined {
  const line = lines.join(',');
  if (line === '') return [];
  const pair =
    /[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~0-9A-Za-z-]+))[ \t]*([;,]|$)/y;
  const elements: Map<string, string>[] = [];
  let element = new Map<string, string>();
  while (pair.lastIndex < line.length) {
    const [found, name = '', quoted, plain, end] = pair.exec(line) ?? [];
    if (found === undefined) return undefined;
    element.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
    if (end === ';') continue;
    elements.push(element);
    element = new Map();
  }
  return elements;
}
