import type { Deadlines, Expiring } from './deadlines.js';
import type { UpstreamConnection, UpstreamUser } from './upstream-connection.js';

/** Shorter than after what servers close an idle connection themselves: Node's do so after five. */
const IDLE_MS = 4000;
const MAX_PER_KEY = 8;
const MAX_IDLE = 512;

/** Idle connections to servers that clients left when they went away. */
export class UpstreamPool {
  readonly #idle = new Map<string, IdleUpstream[]>();
  readonly #deadlines: Deadlines;
  #count = 0;

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /**
   * @param key names route and login session, for another hub's routes the client connection instead: what one person's
   * requests went over never carries another's (security.md B3)
   */
  put(key: string, upstream: UpstreamConnection): void {
    const list = this.#idle.get(key) ?? [];
    if (!upstream.isUsable || list.length >= MAX_PER_KEY || this.#count >= MAX_IDLE) return upstream.destroy();
    const remove = (item: IdleUpstream): void => this.#remove(key, item);
    const idle = new IdleUpstream(upstream, this.#deadlines.after(IDLE_MS), remove);
    list.push(idle);
    this.#idle.set(key, list);
    this.#count++;
    this.#deadlines.add(idle);
  }

  take(key: string): UpstreamConnection | undefined {
    for (;;) {
      const idle = this.#idle.get(key)?.at(-1);
      if (idle === undefined) return undefined;
      this.#remove(key, idle);
      if (idle.upstream.isUsable) return idle.upstream;
      idle.upstream.destroy();
    }
  }

  /** Closes them all. */
  clear(): void {
    for (const list of [...this.#idle.values()]) for (const idle of [...list]) idle.onDeadline();
  }

  get size(): number {
    return this.#count;
  }

  #remove(key: string, idle: IdleUpstream): void {
    const list = this.#idle.get(key);
    const at = list?.indexOf(idle) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.#idle.delete(key);
    this.#count--;
    this.#deadlines.delete(idle);
  }
}

class IdleUpstream implements Expiring, UpstreamUser {
  readonly upstream: UpstreamConnection;
  readonly deadlineMs: number;
  readonly #remove: (item: IdleUpstream) => void;

  constructor(upstream: UpstreamConnection, deadlineMs: number, remove: (item: IdleUpstream) => void) {
    this.upstream = upstream;
    this.deadlineMs = deadlineMs;
    this.#remove = remove;
    upstream.use(this);
  }

  onDeadline(): void {
    this.#drop();
  }

  onUpstreamData(): void {
    this.#drop();
  }

  onUpstreamEnd(): void {
    this.#drop();
  }

  onUpstreamClose(): void {
    this.#drop();
  }

  onUpstreamDrain(): void {
    // Nobody writes.
  }

  #drop(): void {
    this.#remove(this);
    this.upstream.destroy();
  }
}
