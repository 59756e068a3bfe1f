import { MetalhubError } from '@metalhub/base/errors.js';
import { parseIdentity, type ServerName } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';
import type { ServerRef, StartEvent } from '../clients/spawner-client.js';
import type { User } from '../db/tables/users.js';
import type { ChosenProfile } from './profiles.js';
import type { ServerServices } from './server-services.js';
import type { Run } from './server-state.js';

/** The spawner may be restarting. Asking again with the same start id joins the start that is under way, as a stop does. */
const ATTEMPTS = 4;
const PAUSE_MS = 500;

export interface StartCallbacks {
  onStage: (stage: StartEvent['stage']) => void;
  /** How many other starts come before this one, while it has to wait. */
  onAhead: (ahead: number) => void;
  /** Ends the wait for its turn. */
  signal: AbortSignal;
  /** Asked before a further attempt. */
  isStillWanted: () => boolean;
}

/**
 * Asks the spawner, when it is its turn, to start a server and waits for the unit to be ready.
 * @throws {MetalhubError} the spawner's own error, or MH_ERR_WIRE_*
 */
export async function askToStart(
  { spawner, tokens, config, sleep, queue }: ServerServices,
  subject: { user: User; server: ServerName; path: string; run: Run; chosen: ChosenProfile },
  callbacks: StartCallbacks,
): Promise<ServerStatus> {
  const { user, server, path, run, chosen } = subject;
  const request = {
    key: user.key,
    server,
    identity: parseIdentity(`${user.loginMethod}:${user.name}`),
    profile: run.profile,
    ...(chosen.override !== undefined && { override: chosen.override }),
    ...(Object.keys(chosen.choices).length > 0 && { choices: chosen.choices }),
    ...(chosen.kernels.length > 0 && { kernels: [...chosen.kernels] }),
    start_id: run.startId,
    token: tokens(user.key, server, run.startId),
    base_url: path,
  };
  // The spawner has its own time-out; this one is for a spawner that hangs.
  const timeoutMs = (config().server.start_timeout_sec + 60) * SECOND_MS;
  const leave = await queue.enter(user.id, callbacks.signal, callbacks.onAhead);
  try {
    return await askPatiently(
      () => spawner.startServer(request, ({ stage }) => callbacks.onStage(stage), timeoutMs),
      callbacks.isStillWanted,
      sleep,
    );
  } finally {
    leave();
  }
}

/**
 * Asks the spawner to stop a server and waits until its units are gone.
 * @throws {MetalhubError} the spawner's own error, or MH_ERR_WIRE_*
 */
export async function askToStop(
  { spawner, config, sleep }: Pick<ServerServices, 'spawner' | 'config' | 'sleep'>,
  server: ServerRef,
): Promise<void> {
  const timeoutMs = (config().server.stop_timeout_sec + 30) * SECOND_MS;
  await askPatiently(
    () => spawner.stopServer(server, timeoutMs),
    () => true,
    sleep,
  );
}

/** Asks again when the answer was lost, as long as it is wanted. */
async function askPatiently<T>(
  ask: () => Promise<T>,
  isStillWanted: () => boolean,
  sleep: ServerServices['sleep'],
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (!isGone(error) || attempt === ATTEMPTS || !isStillWanted()) throw error;
      await sleep(PAUSE_MS * attempt);
    }
  }
}

/** The answer was lost on the way: whether the unit starts is not known. */
export function isLost(error: unknown): boolean {
  return isGone(error) || (error instanceof MetalhubError && error.code === 'MH_ERR_WIRE_TIMEOUT');
}

/** The spawner ended over it, and is back in a moment. One that does not answer in time will not do so the next time. */
function isGone(error: unknown): boolean {
  const gone = ['MH_ERR_WIRE_CLOSED', 'MH_ERR_WIRE_UNREACHABLE'];
  return error instanceof MetalhubError && gone.includes(error.code);
}
