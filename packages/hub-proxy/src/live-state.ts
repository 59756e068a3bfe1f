import { type Delta, MAX_REVOCATIONS, type ProxyState, type PublicKey, type Route, routeKey } from './proxy-state.js';

/** The state in a form that one change costs the same in whatever its size is. */
export class LiveState {
  #version: number;
  readonly #routes: Map<string, Route>;
  #keys: readonly PublicKey[];
  readonly #revocations: Map<string, number>;

  constructor(state: ProxyState) {
    this.#version = state.version;
    this.#routes = new Map(state.routes.map((route) => [routeKey(route), route]));
    this.#keys = state.keys;
    this.#revocations = new Map(state.revocations.map(({ session_id, until }) => [session_id, until]));
  }

  get version(): number {
    return this.#version;
  }

  get routeCount(): number {
    return this.#routes.size;
  }

  get revocationCount(): number {
    return this.#revocations.size;
  }

  get keys(): readonly PublicKey[] {
    return this.#keys;
  }

  /** @param key of {@link routeKey} */
  findRoute(key: string): Route | undefined {
    return this.#routes.get(key);
  }

  routes(): IterableIterator<Route> {
    return this.#routes.values();
  }

  /** Seconds since the epoch until which a session is revoked. */
  findRevocation(sessionId: string): number | undefined {
    return this.#revocations.get(sessionId);
  }

  snapshot(): ProxyState {
    return {
      version: this.#version,
      routes: [...this.#routes.values()],
      keys: [...this.#keys],
      revocations: [...this.#revocations].map(([session_id, until]) => ({ session_id, until })),
    };
  }

  /** @returns takes it back, if nothing came after it */
  apply(delta: Delta): () => void {
    const routesBefore = [...delta.remove, ...delta.put.map(routeKey)].map(
      (key) => [key, this.#routes.get(key)] as const,
    );
    const revokedBefore = delta.revoke.map(({ session_id: id }) => [id, this.#revocations.get(id)] as const);
    const keysBefore = this.#keys;
    this.#version = delta.version;
    for (const key of delta.remove) this.#routes.delete(key);
    for (const route of delta.put) this.#routes.set(routeKey(route), route);
    this.#keys = delta.keys ?? this.#keys;
    for (const { session_id: id, until } of delta.revoke) {
      // To the end: the oldest go first.
      this.#revocations.delete(id);
      this.#revocations.set(id, until);
    }
    return () => {
      restore(this.#routes, routesBefore);
      restore(this.#revocations, revokedBefore);
      this.#keys = keysBefore;
    };
  }

  /** Whoever saw something else under the number, as what was taken back, must not believe that he is up to date. */
  skipTo(version: number): void {
    this.#version = version;
  }

  /** Forgets revocations that no longer matter, and the oldest when there are too many. */
  forget(nowSec: number): void {
    for (const [id, until] of this.#revocations) if (until < nowSec) this.#revocations.delete(id);
    for (const id of this.#revocations.keys()) {
      if (this.#revocations.size <= MAX_REVOCATIONS) break;
      this.#revocations.delete(id);
    }
  }
}

function restore<V>(map: Map<string, V>, before: readonly (readonly [string, V | undefined])[]): void {
  // The first mention of a key is the oldest.
  for (const [key, value] of before.toReversed()) {
    if (value === undefined) map.delete(key);
    else map.set(key, value);
  }
}
