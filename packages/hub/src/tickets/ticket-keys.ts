import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { errorText, MetalhubError } from '@metalhub/base/errors.js';
import { calculateJwkThumbprint, type JWK } from 'jose';

/** A public key as the proxy gets it, with its RFC 7638 thumbprint as `kid`. */
export interface PublicTicketKey {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
  readonly kid: string;
  readonly alg: 'EdDSA';
  readonly use: 'sig';
}

export interface TicketKeys {
  /** Signs. */
  readonly privateKey: KeyObject;
  readonly kid: string;
  /** All that are accepted. */
  readonly publicKeys: readonly PublicTicketKey[];
}

/**
 * @param pem Ed25519 in PKCS #8
 * @throws {MH_ERR_SYSTEMD_CREDENTIAL}
 */
export async function loadTicketKeys(pem: Buffer): Promise<TicketKeys> {
  const privateKey = readKey('ticket-key', pem);
  const publicKey = await publicKeyOf(privateKey);
  return { privateKey, kid: publicKey.kid, publicKeys: [publicKey] };
}

function readKey(name: string, pem: Buffer): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
    throw new TypeError(`it is of type ${key.asymmetricKeyType ?? 'unknown'}, not ed25519`);
  } catch (cause) {
    const hint = `delete /etc/metalhub/secrets/${name}, then: dpkg-reconfigure metalhub`;
    throw new MetalhubError('MH_ERR_SYSTEMD_CREDENTIAL', { details: { name, reason: errorText(cause) }, hint, cause });
  }
}

async function publicKeyOf(privateKey: KeyObject): Promise<PublicTicketKey> {
  const jwk: JWK = createPublicKey(privateKey).export({ format: 'jwk' });
  const { x = '' } = jwk;
  const kid = await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x });
  return { kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'EdDSA', use: 'sig' };
}
