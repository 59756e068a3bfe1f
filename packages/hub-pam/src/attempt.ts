import { type Clock, DAY_MS } from '@metalhub/base/time.js';
import { findRefusal } from '@metalhub/config/account-rules.js';
import type { LoginConfig } from '@metalhub/config/schema.js';
import { readShells } from '@metalhub/config/shells.js';
import { type Account, accountGroupNames, findAccount, findShadow } from '@metalhub/systemd/accounts.js';
import type { PamAnswer } from '@metalhub/wire/pam.js';
import { findInputRefusal } from './credentials.js';
import { cString, runPam } from './libpam.js';
import { judgeFailure, PAM_SUCCESS, type PamResult } from './outcome.js';

const MAX_ANSWERED_GROUPS = 1024;
const MAX_REASON_CHARACTERS = 256;

export interface Attempt {
  readonly name: string;
  readonly password: string;
  readonly remoteHost: string;
}

export interface AttemptContext {
  /** Name of the file in /etc/pam.d. */
  readonly service: string;
  readonly clock: Clock;
  /** Reads the `login` tables; may be slow, and is begun while libpam works. */
  readonly loadLogin: () => Promise<readonly LoginConfig[]>;
}

/**
 * Answers one attempt: what PAM must not see, then PAM, and only after it the rules of who may log in, so that a
 * refused account goes the same way as any other.
 * @throws {MH_ERR_PAM_LIBRARY} {MH_ERR_SYSTEMD_LIBRARY} {MH_ERR_CONFIG_SYNTAX} {MH_ERR_CONFIG_VALUE} nothing is known
 */
export async function attemptLogin(attempt: Attempt, context: AttemptContext): Promise<PamAnswer> {
  const { name, password, remoteHost } = attempt;
  const refused = findInputRefusal(name, password);
  if (refused !== undefined) return refused;
  const login = createEarly(context.loadLogin);
  const credentials = { name: cString(name), password: cString(password) };
  let pam: PamResult;
  try {
    pam = await runPam({ ...credentials, service: context.service, remoteHost, onPasswordTaken: login.begin });
  } finally {
    credentials.password.fill(0);
  }
  const account = await findAccount(name);
  return pam.code === PAM_SUCCESS
    ? applyPolicy(name, account, await login.get())
    : describeFailure(pam, name, account, context.clock);
}

async function describeFailure(
  pam: PamResult,
  name: string,
  account: Account | undefined,
  clock: Clock,
): Promise<PamAnswer> {
  const shadow = account === undefined ? undefined : await findShadow(name);
  const today = Math.floor(clock.nowMs() / DAY_MS);
  const outcome = judgeFailure(pam, { isKnown: account !== undefined, shadow, today });
  return { outcome, groups: [], reason: `${pam.phase}: ${pam.text}`.slice(0, MAX_REASON_CHARACTERS) };
}

async function applyPolicy(
  name: string,
  account: Account | undefined,
  logins: readonly LoginConfig[],
): Promise<PamAnswer> {
  const groups = account === undefined ? [] : await accountGroupNames(account);
  const login = logins.find(({ method }) => method === 'pam');
  const reason = findRefusal({ name, account, groups, shells: readShells() }, login);
  if (reason !== undefined) return { outcome: 'denied', groups: [], reason };
  return { outcome: 'accepted', groups: groups.slice(0, MAX_ANSWERED_GROUPS), reason: null };
}

/** Runs something slow once: when told to, or at the latest when its result is wanted. */
function createEarly<T>(run: () => Promise<T>): { begin: () => void; get: () => Promise<T> } {
  let result: Promise<T> | undefined;
  const get = (): Promise<T> => (result ??= run());
  return {
    get,
    begin: () => {
      // After the present callback, for which libpam is waiting. A failure shows when the result is wanted.
      setImmediate(() => void get().catch(() => undefined));
    },
  };
}
