import type { Route } from './proxy-state.js';

/**
 * Finds the route of a request by the longest prefix of its path, compared byte by byte: nothing is decoded here.
 *
 * A host that has routes of its own has no others, but for that of the hub: pages of one host must not appear on another
 * one.
 */
export class RouteTable {
  readonly #common = new PrefixTable();
  readonly #ofHost = new Map<string, PrefixTable>();
  readonly #isOwnDomain: (host: string) => boolean;
  readonly #hubPrefix: string;

  /**
   * @param routes the last one wins for a key given twice
   * @param isOwnDomain hosts that have no other routes than their own even while they have none
   * @param hubPrefix of the route that all hosts share
   */
  constructor(routes: Iterable<Route>, isOwnDomain: (host: string) => boolean = () => false, hubPrefix = '/') {
    this.#hubPrefix = hubPrefix;
    this.#isOwnDomain = isOwnDomain;
    for (const route of routes) this.put(route);
  }

  /** Adds it, or puts it in the place of the one with its key. */
  put(route: Route): void {
    this.#tableFor(route.host).put(route);
  }

  /** Takes out whatever has the route's key. */
  remove({ host, prefix }: Route): void {
    const table = this.#tableFor(host);
    table.remove(prefix);
    if (host !== null && table.size === 0) this.#ofHost.delete(host);
  }

  /**
   * The route whose prefix begins the path, or is the path with a slash added.
   * @param host in normal form, without a port
   */
  findRoute(path: string, host: string): Route | undefined {
    const own = this.#ofHost.get(host);
    if (own === undefined) return this.#isOwnDomain(host) ? this.#findHub(path) : this.#common.find(path);
    return own.find(path) ?? this.#findHub(path);
  }

  #findHub(path: string): Route | undefined {
    const isBelow = path.startsWith(this.#hubPrefix) || `${path}/` === this.#hubPrefix;
    return isBelow ? this.#common.find(this.#hubPrefix) : undefined;
  }

  list(): Route[] {
    return [this.#common, ...this.#ofHost.values()].flatMap((table) => table.list());
  }

  #tableFor(host: string | null): PrefixTable {
    if (host === null) return this.#common;
    let table = this.#ofHost.get(host);
    if (table === undefined) {
      table = new PrefixTable();
      this.#ofHost.set(host, table);
    }
    return table;
  }
}

class PrefixTable {
  readonly #routes = new Map<string, Route>();
  #maxSlashes = 1;

  put(route: Route): void {
    this.#routes.set(route.prefix, route);
    this.#maxSlashes = Math.max(this.#maxSlashes, route.prefix.split('/').length - 1);
  }

  remove(prefix: string): void {
    this.#routes.delete(prefix);
  }

  find(path: string): Route | undefined {
    const ends = slashEnds(path, this.#maxSlashes);
    const bare = path.endsWith('/') || ends.length >= this.#maxSlashes ? undefined : this.#routes.get(`${path}/`);
    if (bare !== undefined) return bare;
    for (const end of ends.reverse()) {
      const route = this.#routes.get(path.slice(0, end));
      if (route !== undefined) return route;
    }
    return undefined;
  }

  get size(): number {
    return this.#routes.size;
  }

  list(): Route[] {
    return [...this.#routes.values()];
  }
}

/** Positions behind the first slashes; more than any prefix has need not be looked at. */
function slashEnds(path: string, limit: number): number[] {
  const ends: number[] = [];
  for (let at = path.indexOf('/'); at >= 0 && ends.length < limit; at = path.indexOf('/', at + 1)) ends.push(at + 1);
  return ends;
}
