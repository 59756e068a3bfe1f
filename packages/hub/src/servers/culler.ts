import type { Log } from '@metalhub/base/log.js';
import { type Clock, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import type { Config } from '@metalhub/config/schema.js';
import type { RouteReport } from '@metalhub/wire/proxy-api.js';
import { type LifeLimits, type LifeSpan, lastActiveMs, laterBy, lifeLimits, lifeSpan } from './life-span.js';
import type { UserServer } from './user-server.js';

export interface CullerOptions {
  readonly servers: () => readonly UserServer[];
  /** @throws {MH_ERR_PROXY_UNREACHABLE} */
  readonly routes: () => Promise<ReadonlyMap<string, RouteReport>>;
  /** Whether the spawner tells now what is at work in servers. */
  readonly isSpawnerHeard: () => boolean;
  readonly config: () => Config;
  /** Wall time that does not jump: a clock that is set must not make everybody idle. */
  readonly nowMs: () => number;
  readonly clock: Clock;
  readonly log: Log;
}

const MAX_PAUSE_MS = MINUTE_MS;
const MIN_PAUSE_MS = 2 * SECOND_MS;
/** So many times within the shortest limit it is looked. */
const LOOKS = 10;
/** Of a server that the spawner has not spoken of yet. */
const SILENT = { busy: null, idle_since_ms: null };

/** Ends servers that nobody has used for a time, or that have become too old, and knows of each when that will be. */
export class Culler {
  readonly #options: CullerOptions;
  /** Monotonic. */
  #lookedMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: CullerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** Looks at all servers once, and waits for those that it stops. */
  async look(): Promise<void> {
    const limited = this.#limited();
    const activity = limited.some(({ limits }) => limits.idleSec > 0) ? await this.#findActivity() : undefined;
    const { isSpawnerHeard, clock } = this.#options;
    const nowMs = this.#options.nowMs();
    const wallAheadMs = clock.nowMs() - nowMs;
    // What others tell is by the wall clock. When that has been set back, what happens now bears an old time: all times are
    // then taken to be so much later, those from before too, because nobody is to lose a server that is used.
    const setBackMs = Math.max(0, -wallAheadMs);
    const ends: Promise<void>[] = [];
    for (const { server, limits } of limited) {
      // It may have been stopped while the proxy was asked. Of one that is only remembered it is not known what it does.
      if (server.state.phase !== 'ready' || server.isProvisional) continue;
      const { lastStatus = SILENT } = server;
      // Nobody can use a frozen one, and in any a kernel may have begun since the spawner was heard last.
      const isKnown = !server.isFrozen && isSpawnerHeard();
      const seenMs = isKnown ? activity?.get(server.path) : undefined;
      const activeMs = lastActiveMs(seenMs, lastStatus, { nowMs, setBackMs });
      const span = lifeSpan(limits, { startedMs: server.state.startedMs + setBackMs, activeMs });
      server.lifeSpan = span && laterBy(span, wallAheadMs);
      if (span !== undefined && span.endsMs <= nowMs) ends.push(this.#end(server, span));
    }
    await Promise.all(ends);
  }

  #limited(): { server: UserServer; limits: LifeLimits }[] {
    const config = this.#options.config();
    return this.#options
      .servers()
      .filter(({ state }) => state.phase === 'ready')
      .map((server) => {
        const profile = config.profile.find(({ name }) => name === server.profile);
        return { server, limits: lifeLimits(config, profile) };
      });
  }

  async #end(server: UserServer, { reason, limitSec }: LifeSpan): Promise<void> {
    const { log, clock } = this.#options;
    const fields = { user: server.user.name, server: server.name, unit: server.unit, reason, limitSec };
    log.notice('server is stopped: nobody uses it, or it has run for as long as it may', fields);
    try {
      await server.stop({ reason, limit_sec: limitSec, at_ms: clock.nowMs() });
    } catch {
      // It has logged why; the next look tries again.
    }
  }

  /** When the proxy last saw something of each; `undefined` while it cannot be asked. */
  async #findActivity(): Promise<ReadonlyMap<string, number> | undefined> {
    try {
      const routes = await this.#options.routes();
      return new Map([...routes].map(([prefix, { last_activity }]) => [prefix, Date.parse(last_activity)]));
    } catch (error) {
      this.#options.log.info('activity is not known: the proxy cannot be asked', { err: error });
      return undefined;
    }
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#tick().finally(() => this.#schedule()), MIN_PAUSE_MS); // it never rejects
    this.#timer.unref();
  }

  /** Asked often, because the configuration may have changed; looks when it is time. */
  async #tick(): Promise<void> {
    const { config, clock, log } = this.#options;
    const seconds = config()
      .profile.map((profile) => lifeLimits(config(), profile))
      .flatMap(({ idleSec, ageSec }) => [idleSec, ageSec].filter((limitSec) => limitSec > 0));
    const pauseMs = Math.min(MAX_PAUSE_MS, (Math.min(...seconds) * SECOND_MS) / LOOKS);
    if (clock.monotonicMs() - this.#lookedMs < pauseMs) return;
    await this.look().catch((err: unknown) => log.error('servers could not be looked at', { err }));
    this.#lookedMs = clock.monotonicMs();
  }
}
