import { randomBytes } from 'node:crypto';
import { MetalhubError } from '@metalhub/base/errors.js';
import { type ServerName, serverId, serviceUnit } from '@metalhub/base/names.js';
import { MINUTE_MS } from '@metalhub/base/time.js';
import type { RouteRequest } from '@metalhub/wire/proxy-api.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import { type Failure, type OwnEnd, type StoredServer, storeServer } from '../db/tables/servers.js';
import type { User } from '../db/tables/users.js';
import { serverPath } from '../names/server-url.js';
import type { ProgressEvent } from '../web/pages/views.js';
import { askToStart, askToStop, isLost } from './ask-spawner.js';
import { endOf, explainsItself, failureOf, lastLinesOf, NO_LINES, withLastLines } from './failure.js';
import type { LifeSpan } from './life-span.js';
import type { ChosenProfile, Remembered } from './profiles.js';
import { failedEvent, readyEvent, stoppedEvent } from './progress.js';
import { ProgressFeed, type ProgressListener } from './progress-feed.js';
import { publishPatiently, serverRoute } from './server-route.js';
import type { ServerServices } from './server-services.js';
import { isAtRest, nextState, type Run, runOf, type ServerEvent, type ServerState, STOPPED } from './server-state.js';
import { recordedState, restoredState } from './stored-state.js';

/** A start that was asked for so long ago is not taken up by a hub that was away. */
const RESUME_MS = 10 * MINUTE_MS;

/** One server of one user: starts and stops it, and follows what happens to its unit. */
export class UserServer {
  readonly user: User;
  readonly name: ServerName;
  readonly #services: ServerServices;
  readonly #feed = new ProgressFeed();
  #state: ServerState = STOPPED;
  #remembered: Remembered;
  /** Of the last start: a server keeps the address it was started with, whatever becomes of `public_url`. */
  #base: string;
  #accepting: Promise<void> | undefined;
  /** Resolves when the start of this process has ended: true when a unit may be there. */
  #starting: Promise<boolean> | undefined;
  #stopping: Promise<void> | undefined;
  /** Of the start that waits for its turn. */
  #cancel = new AbortController();
  /** The unit runs and its route is being made: the route is wanted before the state is ready. */
  #opening: Run | undefined;
  /**
   * Of the last start, until it is known to be over. A unit with any other start id is not taken over: the spawner
   * compares identities when it is asked to start one, and nobody does for one that is merely seen.
   */
  #openStartId: string | undefined;
  #isProvisional = false;
  /** What the spawner said of the unit the last time; set here only. */
  lastStatus: ServerStatus | undefined;
  /** When it will be ended, while it runs, by the wall clock; the culler's. */
  lifeSpan: LifeSpan | undefined;
  /** Deleted: it stores nothing more and is not started; the manager's. */
  isForgotten = false;

  constructor(services: ServerServices, user: User, name: ServerName, stored?: StoredServer) {
    this.#services = services;
    this.user = user;
    this.name = name;
    this.#base = stored?.base ?? services.base();
    const { profile, choices } = stored ?? { profile: services.config().profile[0]?.name ?? 'default', choices: {} };
    this.#remembered = { profile, choices };
    if (stored !== undefined) this.#restore(stored);
  }

  /** Where it is, or will be when it is started. */
  get path(): string {
    return serverPath(this.user.name, this.name, isAtRest(this.#state) ? this.#services.base() : this.#base);
  }

  /** Where the last start has put it. */
  get #runPath(): string {
    return serverPath(this.user.name, this.name, this.#base);
  }

  get state(): ServerState {
    return this.#state;
  }

  get profile(): string {
    return isAtRest(this.#state) ? this.#remembered.profile : this.#state.run.profile;
  }

  get remembered(): Remembered {
    return this.#remembered;
  }

  get unit(): string {
    return serviceUnit(serverId(this.user.key, this.name));
  }

  /** Known from the database only: the spawner has not been asked yet. */
  get isProvisional(): boolean {
    return this.#isProvisional;
  }

  /** Its processes stand still, because an administrator wants it. */
  get isFrozen(): boolean {
    return this.#state.phase === 'ready' && this.lastStatus?.frozen === true;
  }

  /** What there is to tell of the present state, oldest first. */
  get progress(): readonly ProgressEvent[] {
    if (this.#state.phase === 'ready') return [readyEvent(this.path)];
    if (this.#state.phase === 'failed') return [failedEvent(this.#state.failure)];
    return this.#state.phase === 'spawn' ? this.#feed.steps : [];
  }

  /** Calls back for each further step until the start has ended. @returns the function that ends it earlier */
  follow(listener: ProgressListener): () => void {
    return this.#feed.follow(listener);
  }

  /** The route that the proxy should have; `undefined` for none. */
  get wantedRoute(): RouteRequest | undefined {
    // A frozen server takes connections and answers none: its visitors are told so by the hub instead.
    if (this.isFrozen) return undefined;
    const run = this.#state.phase === 'ready' ? this.#state.run : this.#opening;
    return run && this.#routeOf(run);
  }

  /**
   * Starts the server, or joins a start. Resolves when the start is recorded; it goes on by itself.
   * @throws {MH_ERR_HUB_DATABASE} {MH_ERR_HUB_NO_SUCH_SERVER} nothing has been started
   */
  async start(chosen: ChosenProfile): Promise<void> {
    while (this.#state.phase === 'stop') await this.stop();
    if (this.isForgotten) {
      throw new MetalhubError('MH_ERR_HUB_NO_SUCH_SERVER', { details: { user: this.user.name, server: this.name } });
    }
    if (this.#accepting === undefined) {
      if (!isAtRest(this.#state)) return;
      this.#accepting = this.#accept(chosen).finally(() => {
        this.#accepting = undefined;
      });
    }
    await this.#accepting;
  }

  /**
   * Stops the server, and a start of it. @param own why the hub does it by itself
   * @throws {MetalhubError} the spawner could not stop it; it is then shown as it was before
   */
  async stop(own?: OwnEnd): Promise<void> {
    await this.#accepting?.catch(() => undefined);
    if (isAtRest(this.#state)) return;
    this.#stopping ??= this.#runStop(own).finally(() => {
      this.#stopping = undefined;
    });
    await this.#stopping;
  }

  /** Takes in what the spawner says of the unit. @param isFresh it was asked just now, so nothing older is meant */
  seen(status: ServerStatus, isFresh = false): void {
    const wasProvisional = this.#isProvisional;
    // A unit that is gone carries no start id: this may be late news.
    if (status.start_id === null && !isFresh && !wasProvisional) {
      if (!isAtRest(this.#state)) void this.#verify(); // it logs its own failure
      return;
    }
    this.#isProvisional = false;
    const wasFrozen = this.isFrozen;
    this.lastStatus = status;
    if (this.isFrozen !== wasFrozen) this.#services.routes.request();
    if (isAtRest(this.#state) && status.start_id !== this.#openStartId) return;
    const nowMs = this.#services.clock.nowMs();
    const before = this.#state;
    const failure = endOf(status, nowMs, before.phase === 'spawn' ? 'start' : 'run');
    // After a reboot nothing is left of what the database remembers; that is no failure of the server.
    const isForgotten = wasProvisional && status.active_state === 'inactive' && status.result === null;
    if (isForgotten && before.phase === 'spawn' && nowMs - before.run.requestedMs < RESUME_MS) {
      // It waited for its turn, here or at the spawner, when this process ended.
      this.#apply({ type: 'resumed' });
      this.#starting = this.#runStart(before.run, undefined);
      return;
    }
    this.#apply(isForgotten ? { type: 'stopped' } : { type: 'seen', status, nowMs, failure });
    void this.#follow(before, status, failure); // it logs its own failure
  }

  /** What a change seen from outside brings about. */
  async #follow(before: ServerState, status: ServerStatus, failure: Failure): Promise<void> {
    const { log, routes } = this.#services;
    const state = this.#state;
    try {
      if (state.phase === 'spawn' && !state.isOurs && status.active_state === 'active') {
        if (this.#opening === undefined) await this.#open(state.run.startId, status);
        return;
      }
      if (state === before) return;
      if (isAtRest(state) && !isAtRest(before)) await this.#afterEnd(before.run, state, failure);
      else if (state.phase === 'ready' && before.phase !== 'ready') log.info('running server adopted', this.#fields());
      routes.request();
      await this.#store();
    } catch (error) {
      log.error('a change of a server could not be handled', { ...this.#fields(), err: error });
    }
  }

  /** Tells of a run that is over. By the time all is asked for the next start may be under way: nothing ends that one. */
  async #afterEnd(run: Run, ended: ServerState, failure: Failure): Promise<void> {
    const { log, routes } = this.#services;
    const path = this.#runPath;
    this.#openStartId = undefined;
    await routes.withdraw(path).catch(() => routes.request());
    if (ended.phase !== 'failed') {
      log.notice('server ended', this.#fields());
      if (this.#state === ended) this.#feed.finish(stoppedEvent());
      return;
    }
    log.warning('server ended by itself', { ...this.#fields(), code: failure.code, reason: failure.message });
    const told = withLastLines(failure, await lastLinesOf(this.#services, this, run), this.unit);
    if (this.#state !== ended) return;
    this.#state = { phase: 'failed', failure: told };
    this.#feed.finish(failedEvent(told));
  }

  async #accept(chosen: ChosenProfile): Promise<void> {
    const { profile } = chosen;
    const before = this.#state;
    const last = this.#remembered;
    const { clock, log } = this.#services;
    const startId = randomBytes(16).toString('hex');
    const run: Run = { startId, profile, requestedMs: clock.nowMs(), invocationId: null };
    this.#apply({ type: 'start-requested', run });
    this.#openStartId = startId;
    this.#base = this.#services.base();
    this.#feed.begin();
    this.#remembered = { profile, choices: { ...last.choices, [profile]: chosen.choices } };
    try {
      await this.#store();
    } catch (error) {
      // The spawner was not asked yet: all is as if nothing had been requested.
      this.#state = before;
      this.#remembered = last;
      this.#feed.finish(stoppedEvent());
      throw error;
    }
    log.notice('server start requested', { ...this.#fields(), ...chosen });
    this.#starting = this.#runStart(run, chosen);
  }

  async #runStart(run: Run, wanted: ChosenProfile | undefined): Promise<boolean> {
    const { user, name: server } = this;
    if (!this.#isSpawning(run.startId)) return false;
    this.#cancel = new AbortController();
    try {
      const chosen = wanted ?? (await this.#services.profiles.choose(user, { profile: run.profile }, this.#remembered));
      const status = await askToStart(
        this.#services,
        { user, server, path: this.#runPath, run, chosen },
        {
          onStage: (stage) => this.#isSpawning(run.startId) && this.#feed.step(stage),
          onAhead: (ahead) => this.#isSpawning(run.startId) && this.#feed.queued(ahead),
          signal: this.#cancel.signal,
          isStillWanted: () => this.#isSpawning(run.startId),
        },
      );
      await this.#open(run.startId, status);
      return true;
    } catch (error) {
      await this.#failStart(run, error);
      return isLost(error);
    }
  }

  /** The unit runs: makes the route, then the server is ready. */
  async #open(startId: string, status: ServerStatus): Promise<void> {
    const { clock, log, routes } = this.#services;
    this.lastStatus = status;
    const run = runOf(status, clock.nowMs());
    const route = run && this.#routeOf(run);
    if (run === undefined || route === undefined) {
      throw new MetalhubError('MH_ERR_INTERNAL', {
        hint: `this hub did not start the unit: systemctl stop ${this.unit}`,
      });
    }
    if (!this.#isSpawning(startId)) return;
    // It may have been running already, below another base, and the database have been lost.
    this.#base = status.base ?? this.#base;
    this.#opening = run;
    this.#feed.step('route');
    try {
      await publishPatiently(this.#services, this.path, route, () => this.#isSpawning(startId));
      if (!this.#isSpawning(startId)) {
        routes.request();
        return;
      }
      this.#apply({ type: 'became-ready', startId, run, startedMs: status.started_at_ms ?? clock.nowMs() });
    } finally {
      this.#opening = undefined;
    }
    log.notice('server started', { ...this.#fields(), profile: run.profile });
    this.#feed.finish(readyEvent(this.path));
    await this.#storeOrLog();
  }

  async #failStart(run: Run, error: unknown): Promise<void> {
    const { clock, log } = this.#services;
    if (!this.#isSpawning(run.startId)) return;
    if (error instanceof MetalhubError && error.code === 'MH_ERR_SPAWN_ALREADY_PENDING') {
      // The spawner was restarted in the middle and works on it: its watch tells the end.
      this.#apply({ type: 'caller-lost', startId: run.startId });
      await this.#verify();
      return;
    }
    const last = explainsItself(error) ? NO_LINES : await lastLinesOf(this.#services, this, run);
    const failure = failureOf(error, last, clock.nowMs(), this.unit);
    if (!this.#isSpawning(run.startId)) return;
    if (!isLost(error)) this.#openStartId = undefined;
    this.#apply({ type: 'start-failed', startId: run.startId, failure });
    log.warning('server start failed', { ...this.#fields(), code: failure.code, err: error });
    this.#feed.finish(failedEvent(failure));
    await this.#storeOrLog();
  }

  async #runStop(own: OwnEnd | undefined): Promise<void> {
    const { routes, log } = this.#services;
    const starting = this.#state.phase === 'spawn' ? this.#starting : undefined;
    this.#apply({ type: 'stop-requested' });
    if (this.#state.phase !== 'stop') return;
    this.#cancel.abort(new MetalhubError('MH_ERR_SPAWN_CANCELLED'));
    const { startId } = this.#state.run;
    const ref = { key: this.user.key, server: this.name };
    // The way goes first: nobody is sent to a server that is ending, and its open pages learn of it at once.
    await routes.withdraw(this.path).catch(() => routes.request());
    try {
      await askToStop(this.#services, ref);
      // The request to start may have arrived after the one to stop.
      if ((await starting) === true) await askToStop(this.#services, ref);
    } catch (error) {
      this.#apply({ type: 'stop-failed' });
      this.#apply({ type: 'caller-lost', startId });
      routes.request();
      log.error('server could not be stopped', { ...this.#fields(), err: error });
      void this.#verify(); // it logs its own failure
      throw error;
    }
    this.#openStartId = undefined;
    this.#apply({ type: 'stopped', own });
    this.#feed.finish(stoppedEvent());
    log.notice('server stopped', this.#fields());
    await this.#storeOrLog();
  }

  /** Asks what is true now, when a message may be about an earlier start. */
  async #verify(): Promise<void> {
    const { spawner, log } = this.#services;
    try {
      this.seen(await spawner.getStatus({ key: this.user.key, server: this.name }), true);
    } catch (error) {
      log.warning('state of a server could not be asked for', { ...this.#fields(), err: error });
    }
  }

  #routeOf(run: Run): RouteRequest | undefined {
    return serverRoute(this.user, this.name, run, this.#services.tokens);
  }

  #restore(stored: StoredServer): void {
    this.#state = restoredState(stored);
    if (isAtRest(this.#state)) return;
    this.#isProvisional = true;
    this.#openStartId = this.#state.run.startId;
    this.#feed.begin();
  }

  async #store(): Promise<void> {
    if (this.isForgotten) return;
    const record = recordedState(this.#state, { name: this.name, base: this.#base, ...this.#remembered });
    await this.#services.database.write((transaction) => storeServer(transaction, this.user.id, record));
  }

  /** What happened has happened; the spawner's list corrects the database at the next start of the hub. */
  async #storeOrLog(): Promise<void> {
    await this.#store().catch((error: unknown) => {
      this.#services.log.error('state of a server could not be stored', { ...this.#fields(), err: error });
    });
  }

  #apply(event: ServerEvent): void {
    const before = this.#state;
    this.#state = nextState(before, event);
    if (this.#state.phase !== 'ready') this.lifeSpan = undefined;
    if (isAtRest(this.#state) && !isAtRest(before)) this.#services.onRest();
  }

  #isSpawning(startId: string): boolean {
    return this.#state.phase === 'spawn' && this.#state.run.startId === startId;
  }

  #fields(): { user: string; server: string; unit: string } {
    return { user: this.user.name, server: this.name, unit: this.unit };
  }
}
