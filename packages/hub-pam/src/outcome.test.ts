import type { Shadow } from '@metalhub/systemd/accounts.js';
import t from 'tap';
import { type AccountFacts, judgeFailure, type PamResult } from './outcome.js';

const shadow: Shadow = {
  name: 'anna',
  locked: false,
  hasEmptyPassword: false,
  lastChangeDay: 20_000,
  maxDays: 99_999,
  inactiveDays: undefined,
  expireDay: undefined,
};
const known: AccountFacts = { isKnown: true, shadow, today: 20_100 };
const AUTH_ERR = 7;

function judge(phase: PamResult['phase'], code: number, change: Partial<Shadow> = {}): string {
  return judgeFailure({ phase, code, text: '' }, { ...known, shadow: { ...shadow, ...change } });
}

t.test('a refused password is wrong, locked or of nobody, whatever pam_deny calls it', async (t) => {
  t.equal(judge('authenticate', AUTH_ERR), 'wrong_password');
  t.equal(judge('authenticate', AUTH_ERR, { locked: true }), 'locked');
  t.equal(judge('authenticate', 11), 'locked', 'too many tries');
  t.equal(
    judgeFailure({ phase: 'authenticate', code: AUTH_ERR, text: '' }, { ...known, isKnown: false }),
    'unknown_user',
  );
  t.equal(judge('authenticate', 10), 'unknown_user');
});

t.test('an account from a directory has no shadow record', async (t) => {
  const facts = { ...known, shadow: undefined };
  t.equal(judgeFailure({ phase: 'authenticate', code: AUTH_ERR, text: '' }, facts), 'wrong_password');
  t.equal(judgeFailure({ phase: 'account', code: AUTH_ERR, text: '' }, facts), 'denied');
});

t.test('M03: after the right password the state of the account is told, by code or by shadow', async (t) => {
  t.equal(judge('account', 13), 'account_expired');
  t.equal(judge('account', 12), 'password_expired');
  t.equal(judge('account', 27), 'password_expired');
  t.equal(judge('account', AUTH_ERR, { expireDay: 20_100 }), 'account_expired');
  t.equal(judge('account', AUTH_ERR, { expireDay: 20_101 }), 'denied');
  t.equal(judge('account', AUTH_ERR, { lastChangeDay: 0 }), 'password_expired');
  t.equal(judge('account', AUTH_ERR, { maxDays: 99 }), 'password_expired');
  t.equal(judge('account', AUTH_ERR, { maxDays: 100 }), 'denied');
  t.equal(judge('account', 6), 'denied', 'pam_access');
});

t.test('M03: an expired account is not told before the password was right', async (t) => {
  t.equal(judge('authenticate', AUTH_ERR, { expireDay: 1 }), 'wrong_password');
  t.equal(judge('authenticate', 13), 'locked');
});

t.test('a failure of libpam or a module is not the visitor’s', async (t) => {
  for (const code of [1, 3, 4, 9, 19, 26, 28]) t.equal(judge('authenticate', code), 'error', String(code));
  t.equal(judge('account', 4), 'error');
  t.equal(judge('start', AUTH_ERR), 'error');
});
