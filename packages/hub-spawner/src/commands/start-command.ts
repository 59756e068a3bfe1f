import { randomBytes } from 'node:crypto';
import { MetalhubError } from '@metalhub/base/errors.js';
import { commandUnit, type Key } from '@metalhub/base/names.js';
import { MINUTE_MS } from '@metalhub/base/time.js';
import type { SpawnerContext } from '../context.js';
import { UNTOUCHED_HOME } from '../home-repair.js';
import { prepareAccount } from '../prepare-account.js';
import type { UserAccount } from '../user-account.js';
import { isOurHome } from '../user-unit.js';
import { removeCommandFile, writeCommandFile } from './command-files.js';
import { chooseProfile } from './command-profile.js';
import { readCommand } from './command-state.js';
import { type CommandStreams, type CommandUnitInput, commandProperties, commandSlice } from './command-unit.js';

// Beyond the unit's own time-outs, in which systemd ends the job by itself.
const JOB_TIMEOUT_MS = 2 * MINUTE_MS;

export interface CommandStart {
  readonly key: Key;
  /** null: what a server of the user has which runs, else the first one. */
  readonly profile: string | null;
  /** The command, of which the account's shell may be a part. */
  wordsOf(account: UserAccount): readonly string[];
  readonly streams: CommandStreams;
}

export interface StartedCommand {
  readonly id: string;
  readonly unit: string;
  readonly words: readonly string[];
  readonly uid: number;
  readonly profile: string;
}

/**
 * Starts a command in a unit of its user, and returns once it is executed. A repair of the home before it may take long.
 *
 * @param signal ends the repair, and the wait for accounts of others that are being made
 * @throws {MH_ERR_SPAWN_NO_LEASE} {MH_ERR_SPAWN_PROFILE} {MH_ERR_SPAWN_CHOICE} {MH_ERR_SPAWN_ACCOUNT} {MH_ERR_SPAWN_LOCAL}
 *   {MH_ERR_SPAWN_LOCAL_LOGIN} {MH_ERR_SPAWN_CREATE} {MH_ERR_SPAWN_HOME} {MH_ERR_SPAWN_REPAIR} {MH_ERR_SPAWN_EXEC} {MH_ERR_BUSY}
 */
export async function startCommand(
  context: SpawnerContext,
  start: CommandStart,
  signal: AbortSignal,
): Promise<StartedCommand> {
  const { key } = start;
  context.commands.requireRoom();
  const config = context.readConfig();
  const profile = await chooseProfile(context, key, start.profile);
  // Noted before the lease is looked up: from then on it cannot be released.
  const leaveKey = context.keysInUse.enter(key);
  try {
    const lease = await context.leases.require(key);
    const account = await prepareAccount({ context, lease, profile, config, signal });
    const home = isOurHome(account, profile)
      ? await context.homes.prepare(key, account.uid, { signal, onRepair: () => undefined })
      : UNTOUCHED_HOME;
    try {
      const id = randomBytes(4).toString('hex');
      const unit = commandUnit(key, id);
      const words = start.wordsOf(account);
      await startUnit(context, unit, words, { key, account, profile, streams: start.streams });
      await home.confirm();
      return { id, unit, words, uid: account.uid, profile: profile.name };
    } finally {
      home.leave();
    }
  } finally {
    leaveKey();
  }
}

async function startUnit(
  context: SpawnerContext,
  unit: string,
  words: readonly string[],
  input: Omit<CommandUnitInput, 'commandFile'>,
): Promise<void> {
  const { manager, slices, commands } = context;
  const { key, profile } = input;
  const commandFile = await writeCommandFile(unit, words);
  try {
    const makesSlice = await slices.claim(key);
    try {
      const auxiliary = makesSlice ? [commandSlice(key, input)] : [];
      const options = { jobTimeoutMs: JOB_TIMEOUT_MS };
      const properties = commandProperties({ ...input, commandFile });
      const job = await manager.startTransientUnit(unit, 'fail', properties, auxiliary, options);
      if (job.result !== 'done') throw await explainFailure(context, unit, job.result);
      commands.add(unit);
    } catch (error) {
      // It may run all the same: systemd's answer was lost, or came too late.
      await commands.discard(unit);
      throw error;
    } finally {
      slices.release(key);
    }
    if (!makesSlice) await slices.raise(key, profile);
  } finally {
    await removeCommandFile(unit);
  }
}

async function explainFailure({ manager }: SpawnerContext, unit: string, job: string): Promise<MetalhubError> {
  const { isFailed, result, status } = await readCommand(manager, unit);
  return new MetalhubError('MH_ERR_SPAWN_EXEC', {
    details: { unit, result: isFailed ? result : job, status },
    hint: `see: journalctl -u ${unit}`,
  });
}
