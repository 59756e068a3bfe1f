import { createPublicKey, randomBytes } from 'node:crypto';
import type { ServerName } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import {
  TICKET_CODE_LIFETIME_SEC,
  TICKET_LIFETIME_SEC,
  type Ticket,
  type TicketCode,
  ticketShape,
} from '@metalhub/wire/ticket.js';
import { CompactSign, compactVerify } from 'jose';
import type { Session } from '../db/tables/sessions.js';
import type { UserName } from '../names/user-name.js';
import type { TicketKeys } from './ticket-keys.js';

export interface TicketSubject {
  readonly user: UserName;
  readonly server: ServerName;
  readonly path: string;
  readonly session: Session;
}

/** Signs what lets a browser through the proxy to one server. */
export class Tickets {
  readonly #keys: TicketKeys;
  readonly #nowMs: () => number;

  constructor(keys: TicketKeys, nowMs: () => number) {
    this.#keys = keys;
    this.#nowMs = nowMs;
  }

  /** A ticket ends with its session at the latest. */
  async makeTicket(subject: TicketSubject): Promise<string> {
    const iat = this.#nowSec();
    const sessionEndSec = Math.floor(subject.session.expiresMs / SECOND_MS);
    const exp = Math.min(iat + TICKET_LIFETIME_SEC, sessionEndSec);
    return await this.#sign({ type: 'ticket', ...claims(subject), iat, exp } satisfies Ticket);
  }

  /**
   * A code that carries a fresh ticket through the browser, once.
   * @param next below the subject's path
   */
  async makeCode(subject: TicketSubject, stateHash: string, next: string | undefined): Promise<string> {
    const ticket = await this.makeTicket(subject);
    const iat = this.#nowSec();
    const code: TicketCode = {
      type: 'code',
      ...claims(subject),
      iat,
      exp: iat + TICKET_CODE_LIFETIME_SEC,
      jti: randomBytes(16).toString('hex'),
      state_hash: stateHash,
      ticket,
      ...(next !== undefined && { next }),
    };
    return await this.#sign(code);
  }

  /** The claims of a ticket of ours, whether or not it has expired; `undefined` for anything else. */
  async readTicket(token: string): Promise<Ticket | undefined> {
    try {
      const { payload } = await compactVerify(token, ({ kid }) => this.#publicKey(kid), { algorithms: ['EdDSA'] });
      return ticketShape(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)), '');
    } catch {
      // Whatever is wrong with it, it is not a ticket.
      return undefined;
    }
  }

  #publicKey(kid: string | undefined): ReturnType<typeof createPublicKey> {
    const key = this.#keys.publicKeys.find((candidate) => candidate.kid === kid);
    if (key === undefined) throw new Error('not signed by a key of this hub');
    const { kty, crv, x } = key;
    return createPublicKey({ format: 'jwk', key: { kty, crv, x } });
  }

  #sign(payload: object): Promise<string> {
    return new CompactSign(Buffer.from(JSON.stringify(payload), 'utf8'))
      .setProtectedHeader({ alg: 'EdDSA', kid: this.#keys.kid })
      .sign(this.#keys.privateKey);
  }

  #nowSec(): number {
    return Math.floor(this.#nowMs() / SECOND_MS);
  }
}

function claims({ user, server, path, session }: TicketSubject) {
  return { user, server, path, session_id: session.id };
}
