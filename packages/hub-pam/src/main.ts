import { Socket } from 'node:net';
import { errorText } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { MINUTE_MS, SECOND_MS, systemClock } from '@metalhub/base/time.js';
import { createLog } from '@metalhub/systemd/journal.js';
import { requireListenFd } from '@metalhub/systemd/listen-fds.js';
import { type PamAnswer, pamProtocol } from '@metalhub/wire/pam.js';
import { serveOnce } from '@metalhub/wire/serve-once.js';
import { attemptLogin } from './attempt.js';
import { endProcess, prepareProcess } from './libpam.js';

const SERVICE = 'metalhub';
const REQUEST_TIMEOUT_MS = 30 * SECOND_MS;
// Shorter than the unit's RuntimeMaxSec=, so that the hub gets an answer.
const ATTEMPT_TIMEOUT_MS = 3 * MINUTE_MS - REQUEST_TIMEOUT_MS - 5 * SECOND_MS;

/** One attempt on the connection that systemd handed over, then the end. */
async function main(): Promise<void> {
  prepareProcess();
  const log = createLog({ identifier: 'hub-pam' });
  const socket = new Socket({ fd: requireListenFd('connection'), readable: true, writable: true });
  await serveOnce(
    socket,
    pamProtocol,
    {
      Authenticate: async ({ name, password, remote_host: remoteHost }) => {
        const answer = await Promise.race([attempt({ name, password, remoteHost }, log), giveUp()]);
        // Neither field has a byte of the visitor's; the hub logs the name.
        log.info('login attempt answered', { outcome: answer.outcome, reason: answer.reason });
        return answer;
      },
    },
    { log, requestTimeoutMs: REQUEST_TIMEOUT_MS },
  );
}

async function attempt(params: Parameters<typeof attemptLogin>[0], log: Log): Promise<PamAnswer> {
  try {
    return await attemptLogin(params, { service: SERVICE, clock: systemClock, loadLogin });
  } catch (error) {
    log.error('login attempt failed', { err: error });
    return { outcome: 'error', groups: [], reason: errorText(error).slice(0, 256) };
  }
}

/** Loaded late: most of this program's code is here, and it is only needed once libpam has the password. */
async function loadLogin() {
  const config = await import('@metalhub/config/load.js');
  return config.loadLogin();
}

function giveUp(): Promise<PamAnswer> {
  return new Promise((resolve) => {
    const reason = `no answer from libpam within ${ATTEMPT_TIMEOUT_MS / SECOND_MS} s`;
    setTimeout(() => resolve({ outcome: 'error', groups: [], reason }), ATTEMPT_TIMEOUT_MS);
  });
}

main().then(
  () => endProcess(0),
  (error: unknown) => {
    process.stderr.write(`hub-pam: ${errorText(error)}\n`);
    endProcess(1);
  },
);
