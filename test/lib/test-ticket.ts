import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** What the hub does for its visitors: a key that the proxy is told of, and tickets signed with it. */
export class TicketMaker {
  readonly #key: KeyObject;
  /** For `PUT /api/keys`. */
  readonly publicKeys: { readonly keys: readonly object[] };

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    this.#key = privateKey;
    const { x } = publicKey.export({ format: 'jwk' });
    this.publicKeys = { keys: [{ kty: 'OKP', crv: 'Ed25519', x, kid: 'test' }] };
  }

  /** Cookie of a visitor who may use a user's server, for half a day. */
  cookie(user: string, sessionId: string): string {
    const nowSec = Math.floor(Date.now() / 1000);
    const claims = { type: 'ticket', user, server: '', path: `/user/${user}/`, session_id: sessionId };
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${encode({ alg: 'EdDSA', kid: 'test' })}.${encode({ ...claims, iat: nowSec, exp: nowSec + 43_200 })}`;
    return `metalhub-ticket=${text}.${sign(null, Buffer.from(text), this.#key).toString('base64url')}`;
  }
}
