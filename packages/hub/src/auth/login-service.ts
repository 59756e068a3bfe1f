import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { accountName, type Key, parseIdentity } from '@metalhub/base/names.js';
import { type Clock, SECOND_MS } from '@metalhub/base/time.js';
import { usesMode } from '@metalhub/config/account-modes.js';
import type { Config } from '@metalhub/config/schema.js';
import type { Account } from '@metalhub/systemd/accounts.js';
import type { Database } from '../db/database.js';
import { isKnownSource, noteSource } from '../db/tables/login-sources.js';
import type { Session } from '../db/tables/sessions.js';
import { findUserByName, noteLogin, type User } from '../db/tables/users.js';
import { isForeignAccount, keyCandidates } from '../names/key.js';
import { isUserName, type UserName } from '../names/user-name.js';
import type { Authenticator, LoginAnswer } from './authenticator.js';
import type { LoginGate } from './login-gate.js';
import type { Sessions } from './sessions.js';
import { addressBlock, isLocal, type LoginSource, type Throttle } from './throttle.js';

/**
 * Failed logins are answered this long after they came in, or a multiple of it: a module that takes its time must not
 * show which names exist. Well above what a local check takes, so that one step is the rule.
 */
export const FAILURE_FLOOR_MS = 2 * SECOND_MS;

export interface LoginRequest {
  /** As typed. */
  name: string;
  password: string;
  address: string;
  /** Id of the session that the browser had until now. */
  replaces: string | undefined;
}

export type LoginResult =
  | { kind: 'accepted'; cookie: string; user: User; session: Session }
  | { kind: 'refused' | 'account-expired' | 'password-expired' | 'failed' | 'busy' }
  | { kind: 'throttled'; retryAfterSec: number };

/** An account of the machine by name; `undefined` when there is none. @throws {MH_ERR_SYSTEMD_LIBRARY} nobody knows */
export type FindAccount = (name: string) => Promise<Pick<Account, 'uid' | 'gid' | 'home'> | undefined>;

export interface LoginServiceOptions {
  authenticator: Authenticator;
  database: Database;
  sessions: Sessions;
  throttle: Throttle;
  gate: LoginGate;
  clock: Clock;
  sleep: (milliseconds: number) => Promise<void>;
  findAccount: FindAccount;
  config: () => Config;
  log: Log;
}

/** One login from the form to the session. */
export class LoginService {
  readonly #options: LoginServiceOptions;

  constructor(options: LoginServiceOptions) {
    this.#options = options;
  }

  /** @throws {MH_ERR_HUB_DATABASE} the password may be right, but the session cannot be stored */
  async logIn(request: LoginRequest): Promise<LoginResult> {
    const { clock, sleep } = this.#options;
    const arrivedMs = clock.monotonicMs();
    const result = await this.#decide(request);
    if (result.kind === 'refused') {
      const spentMs = clock.monotonicMs() - arrivedMs;
      await sleep(Math.ceil(Math.max(spentMs, 1) / FAILURE_FLOOR_MS) * FAILURE_FLOOR_MS - spentMs);
    }
    return result;
  }

  async #decide(request: LoginRequest): Promise<LoginResult> {
    const name = request.name.trim();
    const blocked = this.#findBlock(await this.#sourceOf(name, request.address));
    if (blocked !== undefined) return blocked;
    const leave = await this.#enterGate(name, request.address);
    if (leave === undefined) return { kind: 'busy' };
    try {
      // Those who were in front may have used up what this name or address had left.
      const source = await this.#sourceOf(name, request.address);
      return this.#findBlock(source) ?? (await this.#check(source, request));
    } finally {
      leave();
    }
  }

  async #check(source: LoginSource, request: LoginRequest): Promise<LoginResult> {
    const { name, address } = source;
    if (!isUserName(name)) return this.#refuse(source, 'malformed', null);
    const answer = await this.#options.authenticator.authenticate({ name, password: request.password, address });
    if (answer.kind === 'accepted') return await this.#accept(name, answer.groups, source, request);
    if (answer.kind === 'refused') return this.#refuse(source, answer.outcome, answer.reason);
    if (answer.kind !== 'failed') this.#options.throttle.noteSuccess(source);
    this.#logFailure(answer, source);
    return { kind: answer.kind };
  }

  async #sourceOf(name: string, address: string): Promise<LoginSource> {
    const { database } = this.#options;
    const isKnown = !isLocal(address) && (await isKnownSource(database, name, addressBlock(address)));
    return { name, address, isKnown };
  }

  #findBlock(source: LoginSource): LoginResult | undefined {
    const blockedMs = this.#options.throttle.blockedForMs(source);
    return blockedMs > 0 ? { kind: 'throttled', retryAfterSec: Math.ceil(blockedMs / SECOND_MS) } : undefined;
  }

  async #enterGate(name: string, address: string): Promise<(() => void) | undefined> {
    try {
      return await this.#options.gate.enter(name, isLocal(address) ? undefined : addressBlock(address));
    } catch (error) {
      if (error instanceof MetalhubError && error.code === 'MH_ERR_BUSY') return undefined;
      throw error;
    }
  }

  async #accept(
    name: UserName,
    groups: readonly string[],
    source: LoginSource,
    request: LoginRequest,
  ): Promise<LoginResult> {
    const { database, sessions, throttle, clock, log, authenticator } = this.#options;
    const { admins } = this.#options.config().hub;
    const isAdmin = admins.users.includes(name) || admins.groups.some((group) => groups.includes(group));
    const nowMs = clock.nowMs();
    const { address } = source;
    const loginMethod = authenticator.method;
    // Before the transaction: a directory server may take its time, and others want to write.
    const foreignKeys = await this.#findForeignKeys(loginMethod, name);
    try {
      const login = await database.write(async (transaction) => {
        const user = await noteLogin(transaction, { loginMethod, name, isAdmin, nowMs, foreignKeys });
        if (!isLocal(address)) await noteSource(transaction, user.id, addressBlock(address), nowMs);
        return { user, ...(await sessions.begin(transaction, user, request)) };
      });
      login.commit();
      throttle.noteSuccess(source);
      const { user, cookie, session } = login;
      log.notice('user logged in', { user: user.name, key: user.key, address, sessionId: session.id });
      return { kind: 'accepted', cookie, user, session };
    } catch (error) {
      if (!(error instanceof MetalhubError) || error.code !== 'MH_ERR_HUB_NAME_REFUSED') throw error;
      log.warning('login refused: the name belongs to another login method', { user: shortName(name), address });
      return { kind: 'refused' };
    }
  }

  /** Keys for a new user whose account name belongs to somebody else on this machine. */
  async #findForeignKeys(loginMethod: string, name: UserName): Promise<ReadonlySet<Key>> {
    const { database, findAccount } = this.#options;
    const foreign = new Set<Key>();
    const config = this.#options.config();
    const range = usesMode(config, 'create') ? config.accounts : undefined;
    if ((await findUserByName(database, name)) !== undefined) return foreign;
    for (const key of keyCandidates(parseIdentity(`${loginMethod}:${name}`))) {
      if (!isForeignAccount(await findAccount(accountName(key)), key, range)) break;
      foreign.add(key);
    }
    return foreign;
  }

  #refuse(source: LoginSource, outcome: string, reason: string | null): LoginResult {
    const { throttle, log } = this.#options;
    const { address } = source;
    const fields = { user: shortName(source.name), address, outcome, ...(reason !== null && { reason }) };
    log.notice('login refused', fields);
    if (throttle.noteFailure(source)) log.warning('further logins are refused for a while', fields);
    return { kind: 'refused' };
  }

  #logFailure(answer: Exclude<LoginAnswer, { kind: 'accepted' | 'refused' }>, { name, address }: LoginSource): void {
    const fields = { user: shortName(name), address, outcome: answer.kind, reason: answer.reason ?? '' };
    if (answer.kind === 'failed') this.#options.log.error('login could not be checked', fields);
    else this.#options.log.notice('login refused', fields);
  }
}

/** Bounded for the log; the journal's writer escapes what is in it. */
export function shortName(name: string): string {
  return name.length <= 64 ? name : `${name.slice(0, 61)}...`;
}
