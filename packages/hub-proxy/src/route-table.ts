import type { Route } from './proxy-state.js';

/** Finds the route of a path by its longest prefix, compared byte by byte: nothing is decoded here. */
export class RouteTable {
  readonly #routes = new Map<string, Route>();
  #maxSlashes = 1;

  /** @param routes the last one wins for a prefix given twice */
  constructor(routes: Iterable<Route>) {
    for (const route of routes) {
      this.#routes.set(route.prefix, route);
      this.#maxSlashes = Math.max(this.#maxSlashes, route.prefix.split('/').length - 1);
    }
  }

  /** The route whose prefix begins the path, or is the path with a slash added. */
  findRoute(path: string): Route | undefined {
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
