import { list, nullable, object, oneOf, type Shaped, text } from '@metalhub/base/shape.js';
import { defineProtocol, noEvents } from './protocol.js';

/** hub → hub-pam: one attempt per connection, then both sides close. */

/** Each outcome is told apart in the log; what the visitor is told is the hub's to decide. */
export const PAM_OUTCOMES = [
  'accepted',
  'wrong_password',
  'unknown_user',
  'locked',
  'account_expired',
  'password_expired',
  /** The password was right but the configuration or the account's kind (root, no shell, uid) refuses. */
  'denied',
  /** The name or password could not belong to any account (NUL, control characters, too long). */
  'malformed',
  /** libpam, a module or the machine failed; nothing is known about the password. */
  'error',
] as const;
export type PamOutcome = (typeof PAM_OUTCOMES)[number];

/** In bytes of UTF-8. PAM itself cuts at 512 (PAM_MAX_RESP_SIZE); longer ones are answered `malformed`. */
export const MAX_PASSWORD_BYTES = 512;

export const pamAnswerShape = object({
  outcome: oneOf(...PAM_OUTCOMES),
  /** Local groups of the account by name, only when accepted. */
  groups: list(text({ min: 1, max: 256 }), 1024),
  /** Why, for the log only: the module's answer or the rule that refused; never any of the visitor's text. */
  reason: nullable(text({ max: 256 })),
});
export type PamAnswer = Shaped<typeof pamAnswerShape>;

export const pamProtocol = defineProtocol({
  peer: 'hub-pam',
  path: '/run/metalhub/pam.sock',
  maxFrameBytes: 32 * 1024,
  maxPending: 1,
  requests: {
    Authenticate: {
      params: object({
        name: text({ max: 1024 }),
        password: text({ max: 16 * 1024 }),
        /** Address of the visitor for PAM_RHOST. */
        remote_host: text({ pattern: /^[0-9A-Fa-f:.%a-z]{0,64}$/, max: 64 }),
      }),
      result: pamAnswerShape,
      event: noEvents,
    },
  },
});
export type PamRequests = typeof pamProtocol.requests;
