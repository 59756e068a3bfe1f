import type { Route } from './proxy-state.js';

/**
 * Finds the route of a request by the longest prefix of its path, compared byte by byte: nothing is decoded here.
 *
 * A host that has routes of its own has no others, but for `/`: pages of one host must not appear on another one.
 */
export class RouteTable {
  readonly #common = new PrefixTable();
  readonly #ofHost = new Map<string, PrefixTable>();
  #size = 0;

  /** @param routes the last one wins for a key given twice */
  constructor(routes: Iterable<Route>) {
    for (const route of routes) this.#tableFor(route.host).add(route);
    this.#size = this.#common.size;
    for (const table of this.#ofHost.values()) this.#size += table.size;
  }

  /**
   * The route whose prefix begins the path, or is the path with a slash added.
   * @param host in normal form, without a port
   */
  findRoute(path: string, host: string): Route | undefined {
    const own = this.#ofHost.get(host);
    return own === undefined ? this.#common.find(path) : (own.find(path) ?? this.#common.find('/'));
  }

  get size(): number {
    return this.#size;
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

  add(route: Route): void {
    this.#routes.set(route.prefix, route);
    this.#maxSlashes = Math.max(this.#maxSlashes, route.prefix.split('/').length - 1);
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
