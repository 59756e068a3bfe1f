import { createHash } from 'node:crypto';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import type { PublicKey } from '../proxy-state.js';
import { publicKeyShape } from '../proxy-state.js';

/** Signs as the hub does, for tests. */
export interface TestHubKey {
  readonly publicKey: PublicKey;
  sign(claims: Record<string, unknown>): Promise<string>;
}

export async function makeHubKey(kid = 'k1'): Promise<TestHubKey> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  const { kty, crv, x } = await exportJWK(publicKey);
  return {
    publicKey: publicKeyShape({ kty, crv, x, kid }, ''),
    sign: (claims) =>
      new CompactSign(Buffer.from(JSON.stringify(claims))).setProtectedHeader({ alg: 'EdDSA', kid }).sign(privateKey),
  };
}

export const SESSION_ID = 'a'.repeat(32);

export function ticketClaims(nowSec: number, changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: 'ticket',
    user: 'anna',
    server: '',
    path: '/user/anna/',
    session_id: SESSION_ID,
    iat: nowSec,
    exp: nowSec + 43_200,
    ...changes,
  };
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
