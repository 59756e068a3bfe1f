import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { DAY_MS, MINUTE_MS, SECOND_MS } from '@metalhub/base/time.js';
import { TICKET_LIFETIME_SEC } from '@metalhub/wire/ticket.js';
import type { Database, Transaction } from '../db/database.js';
import { insertRevocation, type Revocation } from '../db/tables/revocations.js';
import {
  deleteExpiredSessions,
  deleteSession,
  deleteSessionsElsewhere,
  findSession,
  insertSession,
  type Session,
  touchSession,
  trimSessions,
} from '../db/tables/sessions.js';
import type { User } from '../db/tables/users.js';

export interface Login {
  readonly session: Session;
  readonly user: User;
}

/** A user has at most so many; the oldest ends when another begins. */
const MAX_SESSIONS_PER_USER = 64;
const TOUCH_EVERY_MS = 5 * MINUTE_MS;
/** Expired rows stay for a while: a clock that was wrong at the start must not have deleted them. */
const KEEP_EXPIRED_MS = 7 * DAY_MS;
/** A ticket may have been made while the clock was ahead; its revocation must outlive it. */
const CLOCK_MARGIN_MS = DAY_MS;

export interface SessionOptions {
  database: Database;
  /** What is stored and goes into tickets, which the proxy judges by the same clock. */
  wallNowMs: () => number;
  /** What expiry is judged by (steady-clock.ts). */
  steadyNowMs: () => number;
  lifetimeSec: () => number;
  /** Path of public_url: where the cookie belongs. */
  base: () => string;
  /** Told of every session that ended before its time; the proxy must learn of it. */
  onRevoked: (revocations: readonly Revocation[]) => void;
}

/**
 * Browser logins. The cookie's value is `<id>.<secret>`: the id is public and finds the row, of the secret only the
 * hash is stored.
 */
export class Sessions {
  readonly #options: SessionOptions;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /**
   * Begins a session as part of the login's transaction; `commit` reports what ended by it.
   * @returns the value of the cookie
   */
  async begin(
    transaction: Transaction,
    user: User,
    login: { address: string; replaces: string | undefined },
  ): Promise<{ cookie: string; session: Session; commit: () => void }> {
    const nowMs = this.#options.wallNowMs();
    const id = randomBytes(16).toString('hex');
    const secret = randomBytes(32);
    const expiresMs = nowMs + this.#options.lifetimeSec() * SECOND_MS;
    const session = { id, createdMs: nowMs, expiresMs, lastSeenMs: nowMs, address: login.address };
    await insertSession(transaction, session, {
      userId: user.id,
      secretHash: hash(secret),
      base: this.#options.base(),
    });
    const ended = await trimSessions(transaction, user.id, MAX_SESSIONS_PER_USER);
    if (login.replaces !== undefined && (await deleteSession(transaction, login.replaces))) ended.push(login.replaces);
    const revocations = await this.#revoke(transaction, ended);
    const cookie = `${id}.${secret.toString('base64url')}`;
    return { cookie, session, commit: () => this.#options.onRevoked(revocations) };
  }

  /** The login of a cookie's value; `undefined` when it is malformed, unknown, or has expired. */
  async find(cookie: string | undefined): Promise<Login | undefined> {
    const [, id = '', secret = ''] = /^([0-9a-f]{32})\.([A-Za-z0-9_-]{43})$/.exec(cookie ?? '') ?? [];
    if (id === '') return undefined;
    const stored = await findSession(this.#options.database, id);
    if (stored === undefined || !timingSafeEqual(stored.secretHash, hash(Buffer.from(secret, 'base64url')))) {
      return undefined;
    }
    const { session, user } = stored;
    const nowMs = this.#options.steadyNowMs();
    if (nowMs >= session.expiresMs) {
      // Gone for good once seen as expired, or a clock set back would bring it to life again.
      await this.#ignoringFailure((transaction) => deleteSession(transaction, id));
      return undefined;
    }
    if (Math.abs(nowMs - session.lastSeenMs) > TOUCH_EVERY_MS) {
      void this.#ignoringFailure((transaction) => touchSession(transaction, id, nowMs)); // nothing depends on it
    }
    return { session, user };
  }

  /** Like {@link find}, by public id: for the renewal of tickets. */
  async findById(id: string): Promise<Login | undefined> {
    const stored = await findSession(this.#options.database, id);
    if (stored === undefined || this.#options.steadyNowMs() >= stored.session.expiresMs) return undefined;
    return stored;
  }

  /**
   * Ends a session, and with it those of the user that began before the path of public_url changed: servers of that time still
   * take their tickets, and no page is left from which they could be ended.
   */
  async end({ session, user }: Login): Promise<void> {
    const revocations = await this.#options.database.write(async (transaction) => {
      await deleteSession(transaction, session.id);
      const elsewhere = await deleteSessionsElsewhere(transaction, user.id, this.#options.base());
      return await this.#revoke(transaction, [session.id, ...elsewhere]);
    });
    this.#options.onRevoked(revocations);
  }

  async deleteExpired(): Promise<void> {
    const beforeMs = this.#options.steadyNowMs() - KEEP_EXPIRED_MS;
    await this.#options.database.write((transaction) => deleteExpiredSessions(transaction, beforeMs));
  }

  async #revoke(transaction: Transaction, ids: readonly string[]): Promise<Revocation[]> {
    const latestMs = Math.max(this.#options.wallNowMs(), this.#options.steadyNowMs());
    const untilMs = latestMs + TICKET_LIFETIME_SEC * SECOND_MS + CLOCK_MARGIN_MS;
    const revocations = ids.map((sessionId) => ({ sessionId, untilMs }));
    for (const revocation of revocations) await insertRevocation(transaction, revocation);
    return revocations;
  }

  /** A full or read-only disk must not keep those out who are logged in. */
  async #ignoringFailure(work: (transaction: Transaction) => Promise<unknown>): Promise<void> {
    await this.#options.database.write(work).catch(() => undefined);
  }
}

function hash(secret: Buffer): Buffer {
  return createHash('sha256').update(secret).digest();
}
