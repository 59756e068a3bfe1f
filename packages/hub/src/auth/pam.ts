import { MetalhubError } from '@metalhub/base/errors.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import { connectWire } from '@metalhub/wire/client.js';
import { type PamAnswer, pamProtocol } from '@metalhub/wire/pam.js';
import type { Authenticator, LoginAnswer, LoginAttempt } from './authenticator.js';

/** Longer than any module waits for a directory server, shorter than hub-pam's own end. */
const ANSWER_TIMEOUT_MS = 60 * SECOND_MS;

/** Asks hub-pam, one connection and one root process per attempt. */
export function pamAuthenticator(options: { path?: string } = {}): Authenticator {
  return {
    method: 'pam',
    async authenticate(attempt) {
      try {
        return answerOf(await ask(attempt, options));
      } catch (error) {
        if (error instanceof MetalhubError) return { kind: 'failed', reason: `${error.code}: ${error.message}` };
        throw error;
      }
    },
  };
}

async function ask({ name, password, address }: LoginAttempt, options: { path?: string }): Promise<PamAnswer> {
  const client = await connectWire(pamProtocol, options);
  try {
    const params = { name, password, remote_host: address };
    return await client.call('Authenticate', params, { timeoutMs: ANSWER_TIMEOUT_MS });
  } finally {
    client.close();
  }
}

function answerOf({ outcome, groups, reason }: PamAnswer): LoginAnswer {
  switch (outcome) {
    case 'accepted':
      return { kind: 'accepted', groups };
    case 'account_expired':
      return { kind: 'account-expired', reason };
    case 'password_expired':
      return { kind: 'password-expired', reason };
    case 'error':
      return { kind: 'failed', reason };
    case 'wrong_password':
    case 'unknown_user':
    case 'locked':
    case 'denied':
    case 'malformed':
      return { kind: 'refused', outcome, reason };
  }
}
