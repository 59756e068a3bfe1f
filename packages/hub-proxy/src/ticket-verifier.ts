import { type Shape, ShapeError } from '@metalhub/base/shape.js';
import { type Ticket, type TicketCode, ticketCodeShape, ticketShape } from '@metalhub/wire/ticket.js';
import { type CryptoKey, compactVerify, errors, importJWK } from 'jose';
import { detached } from './header-fields.js';
import type { PublicKey } from './proxy-state.js';

const MAX_TICKET_CHARACTERS = 4096;
const MAX_CODE_CHARACTERS = 16 * 1024;
const CACHE_SIZE = 4096;

/** Checks signature and shape with the hub's public keys. Whether a ticket is still valid is asked elsewhere. */
export class TicketVerifier {
  #keys = new Map<string, CryptoKey>();
  #turn = 0;
  #keysText = '[]';
  /** Verified tickets by their text: those looked at lately, and those from before. */
  #recent = new Map<string, Ticket>();
  #earlier = new Map<string, Ticket>();
  /** Being verified. */
  readonly #pending = new Map<string, Promise<Ticket | undefined>>();

  /** Replaces the keys. Tickets of a key that is gone are no longer valid; with the same keys all stay verified. */
  async setKeys(keys: readonly PublicKey[]): Promise<void> {
    const turn = ++this.#turn;
    const keysText = JSON.stringify(keys);
    if (keysText === this.#keysText) return;
    const imported = await Promise.all(keys.map(async (key) => [key.kid, await importPublicKey(key)] as const));
    // Keys that came later may have been imported sooner.
    if (turn !== this.#turn) return;
    this.#keys = new Map(imported);
    this.#keysText = keysText;
    this.#recent.clear();
    this.#earlier.clear();
  }

  /** A ticket that was verified before, `undefined` when it has to be (again). */
  findVerified(token: string): Ticket | undefined {
    const recent = this.#recent.get(token);
    if (recent !== undefined) return recent;
    const earlier = this.#earlier.get(token);
    if (earlier !== undefined) this.#remember(token, earlier);
    return earlier;
  }

  /** `undefined` for anything that the hub did not sign as a ticket. */
  async verifyTicket(token: string): Promise<Ticket | undefined> {
    if (token.length > MAX_TICKET_CHARACTERS) return undefined;
    const known = this.findVerified(token);
    if (known !== undefined) return known;
    const pending = this.#pending.get(token) ?? this.#verifyAndRemember(token);
    return pending;
  }

  #verifyAndRemember(token: string): Promise<Ticket | undefined> {
    const keys = this.#keys;
    const verified = this.#verify(token, ticketShape).then((ticket) => {
      // Forgeries are not remembered, nor what was signed with a key that has gone meanwhile.
      if (ticket !== undefined && keys === this.#keys) this.#remember(token, ticket);
      return ticket;
    });
    this.#pending.set(token, verified);
    const forget = (): void => void this.#pending.delete(token);
    verified.then(forget, forget);
    return verified;
  }

  #remember(token: string, ticket: Ticket): void {
    if (this.#recent.size >= CACHE_SIZE / 2) {
      this.#earlier = this.#recent;
      this.#recent = new Map();
    }
    this.#recent.set(detached(token), ticket);
  }

  verifyCode(token: string): Promise<TicketCode | undefined> {
    if (token.length > MAX_CODE_CHARACTERS) return Promise.resolve(undefined);
    return this.#verify(token, ticketCodeShape);
  }

  async #verify<T>(token: string, shape: Shape<T>): Promise<T | undefined> {
    try {
      const { payload } = await compactVerify(token, ({ kid }) => this.#getKey(kid), { algorithms: ['EdDSA'] });
      return shape(JSON.parse(Buffer.from(payload).toString('utf8')), '');
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof ShapeError || error instanceof SyntaxError)
        return undefined;
      throw error;
    }
  }

  #getKey(kid: string | undefined): CryptoKey {
    const key = kid === undefined ? undefined : this.#keys.get(kid);
    if (key === undefined) throw new errors.JWSSignatureVerificationFailed();
    return key;
  }
}

async function importPublicKey(key: PublicKey): Promise<CryptoKey> {
  const imported = await importJWK({ kty: key.kty, crv: key.crv, x: key.x, kid: key.kid }, 'EdDSA');
  if (imported instanceof Uint8Array) throw new TypeError('not a public key');
  return imported;
}
