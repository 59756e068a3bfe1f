import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { ServerLimits } from '@metalhub/wire/spawner.js';
import type { SpawnerClient } from '../clients/spawner-client.js';
import type { Database } from '../db/database.js';
import { deleteLimitGrant, type LimitGrant, listLimitGrants, storeLimitGrant } from '../db/tables/limit-grants.js';
import { grantStep } from './grant-step.js';
import { isAtRest } from './server-state.js';
import type { UserServer } from './user-server.js';

export interface LimitGrantsOptions {
  readonly database: Database;
  readonly spawner: SpawnerClient;
  readonly servers: () => readonly UserServer[];
  /** Wall time that does not jump. */
  readonly nowMs: () => number;
  readonly wallNowMs: () => number;
  readonly log: Log;
}

const LOOK_MS = SECOND_MS;
/** With these the spawner says that it has not touched the server. */
const REFUSALS = ['MH_ERR_SPAWN_LIMIT', 'MH_ERR_SPAWN_NOT_RUNNING', 'MH_ERR_SPAWN_ALREADY_PENDING'];

/**
 * Limits that an administrator has given to servers for a time. The database has each before systemd does, and until systemd
 * has it no more: so what was given is given back, whenever this process ends.
 */
export class LimitGrants {
  readonly #options: LimitGrantsOptions;
  /** Until when by the time that does not jump. */
  readonly #grants = new Map<string, LimitGrant>();
  /** Grants whose last step failed, so that it is said once. */
  readonly #failing = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: LimitGrantsOptions) {
    this.#options = options;
  }

  /** @throws {MH_ERR_HUB_DATABASE} */
  async open(): Promise<void> {
    for (const grant of await listLimitGrants(this.#options.database)) this.#grants.set(idOf(grant), grant);
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  /** Until when by the clock of the machine. */
  find(server: UserServer): LimitGrant | undefined {
    const grant = this.#grants.get(idOfServer(server));
    return grant && this.#byWallClock(grant);
  }

  /**
   * @param forMs `null` for as long as it runs
   * @throws {MH_ERR_SPAWN_NOT_RUNNING} {MH_ERR_SPAWN_LIMIT} {MH_ERR_SPAWN_ALREADY_PENDING} nothing has changed
   * @throws {MetalhubError} it may have been given
   */
  give(server: UserServer, limits: ServerLimits, forMs: number | null): Promise<LimitGrant> {
    return this.#queued(async () => {
      const { nowMs, log } = this.#options;
      const before = this.#grants.get(idOfServer(server));
      const untilMs = forMs === null ? null : nowMs() + forMs;
      const grant = { userId: server.user.id, name: server.name, limits, startId: startIdOf(server), untilMs };
      await this.#store(grant);
      try {
        await this.#setLimits(server, limits);
      } catch (error) {
        // What was before holds on. After any other error the limits may have been set: then they are given back in time.
        if (changedNothing(error)) await (before === undefined ? this.#delete(grant) : this.#store(before));
        throw error;
      }
      log.notice('limits given to a server', { ...fieldsOf(server), ...limits, untilMs: this.find(server)?.untilMs });
      return grant;
    });
  }

  /** Gives back now what a server was given, or would be at its next start. @throws {MH_ERR_SPAWN_NOT_RUNNING} */
  takeBack(server: UserServer): Promise<void> {
    return this.#queued(async () => {
      const grant = this.#grants.get(idOfServer(server));
      // What is at rest or about to start has none yet, only what waits for it.
      const isWaiting = isAtRest(server.state) || server.state.phase === 'spawn';
      if (!isWaiting || grant === undefined) await this.#setLimits(server, {});
      if (grant !== undefined) await this.#delete(grant);
      this.#options.log.notice('limits of a server given back', fieldsOf(server));
    });
  }

  /** The server was deleted, and with it what the database had: another of its name has nothing of it. */
  drop(server: Pick<UserServer, 'user' | 'name'>): void {
    this.#grants.delete(idOfServer(server));
    this.#failing.delete(idOfServer(server));
  }

  /** Does for each grant what is due. */
  async look(): Promise<void> {
    for (const grant of [...this.#grants.values()]) await this.#queued(() => this.#step(grant));
  }

  async #step(grant: LimitGrant): Promise<void> {
    const { servers, nowMs, log } = this.#options;
    const id = idOf(grant);
    if (this.#grants.get(id) !== grant) return;
    const server = servers().find((candidate) => idOfServer(candidate) === id);
    // What it does is not known yet.
    if (server?.isProvisional === true) return;
    const step = grantStep(grant, server?.state, nowMs());
    if (step === 'keep') return;
    try {
      if (step === 'apply' && server !== undefined) {
        await this.#giveAgain(server, grant);
      } else {
        if (step === 'give-back' && server !== undefined) {
          await this.#setLimits(server, {});
          log.notice('limits of a server given back', fieldsOf(server));
        }
        await this.#delete(grant);
      }
      this.#failing.delete(id);
    } catch (err) {
      if (!this.#failing.has(id)) log.warning('limits of a server could not be changed; trying on', { step, err });
      this.#failing.add(id);
    }
  }

  async #giveAgain(server: UserServer, grant: LimitGrant): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#setLimits(server, grant.limits);
    } catch (err) {
      if (!isOverCeiling(err)) throw err;
      // The ceiling was lowered meanwhile.
      await this.#delete(grant);
      log.warning('limits are not given to a later start of a server', { ...fieldsOf(server), err });
      return;
    }
    await this.#store({ ...grant, startId: startIdOf(server) });
    log.notice('limits given to a later start of a server', fieldsOf(server));
  }

  async #setLimits(server: UserServer, limits: ServerLimits): Promise<void> {
    const { key } = server.user;
    await this.#options.spawner.setLimits({ key, server: server.name, start_id: startIdOf(server), limits });
  }

  async #store(grant: LimitGrant): Promise<void> {
    // The next process has another time that does not jump, which begins with the wall clock of then.
    const record = this.#byWallClock(grant);
    await this.#options.database.write((transaction) => storeLimitGrant(transaction, record));
    this.#grants.set(idOf(grant), grant);
    this.#schedule();
  }

  #byWallClock(grant: LimitGrant): LimitGrant {
    const { nowMs, wallNowMs } = this.#options;
    return grant.untilMs === null ? grant : { ...grant, untilMs: grant.untilMs + wallNowMs() - nowMs() };
  }

  async #delete(grant: LimitGrant): Promise<void> {
    await this.#options.database.write((transaction) => deleteLimitGrant(transaction, grant.userId, grant.name));
    this.#grants.delete(idOf(grant));
    this.#failing.delete(idOf(grant));
  }

  #queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Looks again and again while anything is given. */
  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#grants.size === 0) return;
    this.#timer = setTimeout(() => void this.look().finally(() => this.#schedule()), LOOK_MS); // it never rejects
    this.#timer.unref();
  }
}

function changedNothing(error: unknown): boolean {
  return error instanceof MetalhubError && REFUSALS.includes(error.code);
}

function isOverCeiling(error: unknown): boolean {
  return error instanceof MetalhubError && error.code === 'MH_ERR_SPAWN_LIMIT';
}

function startIdOf({ state }: UserServer): string {
  if (state.phase !== 'ready') throw new MetalhubError('MH_ERR_SPAWN_NOT_RUNNING');
  return state.run.startId;
}

function idOf({ userId, name }: Pick<LimitGrant, 'userId' | 'name'>): string {
  return `${userId}/${name}`;
}

function idOfServer({ user, name }: Pick<UserServer, 'user' | 'name'>): string {
  return idOf({ userId: user.id, name });
}

function fieldsOf({ user, name, unit }: UserServer): { user: string; server: string; unit: string } {
  return { user: user.name, server: name, unit };
}
