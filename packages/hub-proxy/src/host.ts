import { NameMemo } from './header-fields.js';

/** A Host header in its one form: lower case, without a final dot. */
export interface RequestHost {
  /** `hub.example.org`, `127.0.0.1` or `[::1]`. */
  readonly name: string;
  readonly port: number | undefined;
}

const HOST = /^(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}))(?::([0-9]{1,5}))?$/;

/** Hosts that are always answered: they are how the machine itself reaches the proxy. */
export const LOCAL_HOSTS = ['localhost', '127.0.0.1', '[::1]'];

/** Lower case, without a final dot. */
export function normalHostName(name: string): string {
  const lower = name.toLowerCase();
  return lower.endsWith('.') ? lower.slice(0, -1) : lower;
}

/** `undefined` for anything that is not `name` or `name:port`. */
export function parseHost(value: string): RequestHost | undefined {
  return value.length <= MAX_HOST_CHARACTERS ? hosts.get(value) || undefined : undefined;
}

const MAX_HOST_CHARACTERS = 253 + ':65535'.length;
/** Visitors use few. `false` for what is none. */
const hosts = new NameMemo((value) => readHost(value) ?? false);

function readHost(value: string): RequestHost | undefined {
  const [, rawName, rawPort] = HOST.exec(value) ?? [];
  if (rawName === undefined) return undefined;
  const name = normalHostName(rawName);
  if (name.includes('..') || name.endsWith('.')) return undefined;
  const port = rawPort === undefined ? undefined : Number(rawPort);
  if (port !== undefined && (port < 1 || port > 65_535)) return undefined;
  return { name, port };
}

/** `name` or `name:port`. */
export function hostText(host: RequestHost): string {
  return host.port === undefined ? host.name : `${host.name}:${host.port}`;
}

/** The hosts that are answered: names, and `*.example.org` for all names one level below. */
export class HostList {
  readonly #names = new Set<string>();
  readonly #parents = new Set<string>();

  constructor(hosts: Iterable<string>) {
    for (const host of hosts) {
      if (host.startsWith('*.')) this.#parents.add(host.slice(2));
      else this.#names.add(host);
    }
  }

  /** @param name in normal form */
  has(name: string): boolean {
    return this.#names.has(name) || this.isBelow(name);
  }

  /** Whether it is one of many: a domain of one user's, where nobody else's pages may appear. */
  isBelow(name: string): boolean {
    const dot = name.indexOf('.');
    return dot > 0 && !this.#names.has(name) && this.#parents.has(name.slice(dot + 1));
  }
}
