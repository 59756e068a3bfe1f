import { MetalhubError } from '@metalhub/base/errors.js';
import type { Log } from '@metalhub/base/log.js';
import { commandUnit, findCommandOfUnit, type Key } from '@metalhub/base/names.js';
import { SECOND_MS } from '@metalhub/base/time.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import type { CommandEnd } from '@metalhub/wire/spawner-admin.js';
import { listCommandFiles, removeCommandFile } from './command-files.js';
import { type CommandState, commandEndOf, isOver, mayBeOver, readCommand, STOPPED, UNLOADED } from './command-state.js';

const PATTERN = 'jupyter-*-exec-*.service';
/** Until callers of before a restart must have come back. Each tries it every moment. */
const GRACE_MS = 15 * SECOND_MS;
const STOP_JOB_TIMEOUT_MS = 30 * SECOND_MS;
/** Far more than administrators at work; each holds a connection. */
const MAX_COMMANDS = 256;

/** Commands of administrators whose unit runs, or has ended and was not looked at yet. */
export interface CommandTable {
  readonly size: number;
  /** @throws {MH_ERR_BUSY} */
  requireRoom(): void;
  /** Takes a unit on that was just started. */
  add(unit: string): void;
  /** Ends a unit whose start has failed, or seems to have: nobody knows it. It never rejects. */
  discard(unit: string): Promise<void>;
  /**
   * Waits for the end of a command and of all that it left running. When the caller goes before that, the command is ended.
   * @throws {MH_ERR_SPAWN_NO_COMMAND} the signal's reason
   */
  wait(key: Key, id: string, signal: AbortSignal): Promise<CommandEnd>;
  /** @throws {MH_ERR_SPAWN_NO_COMMAND} */
  require(key: Key, id: string): string;
  /** Takes on what another process of ours left, and ends what nobody comes back for. */
  adopt(): Promise<void>;
  /** From now on a caller that goes does so because this process ends: commands go on. */
  leave(): void;
}

interface Command {
  /** Resolves when it has ended by itself, or its unit is gone. */
  readonly over: Promise<CommandState>;
  stopWatching(): void;
  waiting: number;
  end: Promise<CommandEnd> | undefined;
}

export interface CommandTableOptions {
  readonly manager: Manager;
  readonly log: Log;
  readonly graceMs?: number;
}

export function createCommandTable({ manager, log, graceMs = GRACE_MS }: CommandTableOptions): CommandTable {
  const commands = new Map<string, Command>();
  const timers = new Set<NodeJS.Timeout>();
  let isLeaving = false;

  function add(unit: string): Command {
    const known = commands.get(unit);
    if (known !== undefined) return known;
    const command = { ...watchUntilOver(manager, unit, log), waiting: 0, end: undefined };
    commands.set(unit, command);
    return command;
  }

  /** Stops what is left and forgets it, once; tells how it ended. A unit that cannot be stopped is tried again later. */
  function finish(unit: string, command: Command, state: CommandState | undefined): Promise<CommandEnd> {
    command.end ??= (async () => {
      try {
        await stopCommand(manager, unit);
        await removeCommandFile(unit);
        command.stopWatching();
        commands.delete(unit);
      } catch (err) {
        log.warning('command is left for now', { unit, err });
        command.end = undefined;
        finishLater(unit, command);
      }
      return state === undefined ? STOPPED : commandEndOf(state);
    })();
    return command.end;
  }

  function finishLater(unit: string, command: Command): void {
    // The next process finds it.
    if (isLeaving) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (command.waiting > 0 || command.end !== undefined || commands.get(unit) !== command) return;
      log.notice('ending a command that nobody waits for', { unit });
      void finish(unit, command, undefined); // it deals with its own failures
    }, graceMs);
    timers.add(timer);
  }

  function require(key: Key, id: string): string {
    const unit = commandUnit(key, id);
    if (commands.has(unit)) return unit;
    throw new MetalhubError('MH_ERR_SPAWN_NO_COMMAND', { details: { unit } });
  }

  return {
    get size() {
      return commands.size;
    },
    requireRoom() {
      if (commands.size >= MAX_COMMANDS)
        throw new MetalhubError('MH_ERR_BUSY', { details: { reason: 'commands of administrators' } });
    },
    add,
    async discard(unit) {
      await finish(unit, add(unit), undefined);
    },
    require,
    async wait(key, id, signal) {
      const unit = require(key, id);
      const command = add(unit);
      command.waiting++;
      try {
        const state = await Promise.race([command.over, aborted(signal)]);
        if (state !== undefined) return await finish(unit, command, state);
        if (!isLeaving && command.waiting === 1) await finish(unit, command, undefined);
        throw signal.reason;
      } finally {
        command.waiting--;
      }
    },
    async adopt() {
      const rows = await manager.listUnitsByPatterns([], [PATTERN]);
      const units = rows.map(({ name }) => name).filter((name) => findCommandOfUnit(name) !== undefined);
      for (const unit of units) finishLater(unit, add(unit));
      for (const unit of await listCommandFiles()) if (!units.includes(unit)) await removeCommandFile(unit);
    },
    leave() {
      isLeaving = true;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

/** To ask about a unit that is gone loads and unloads it again, which is two changes more: so only what may be an end is asked about. */
function watchUntilOver(manager: Manager, unit: string, log: Log): Pick<Command, 'over' | 'stopWatching'> {
  let stopWatching = (): void => undefined;
  const over = new Promise<CommandState>((resolve) => {
    function settle(state: CommandState): void {
      if (!isOver(state)) return;
      stopWatching();
      resolve(state);
    }
    function look(): void {
      // Lost with the connection: the resync that follows reads it again.
      readCommand(manager, unit).then(settle, (err: unknown) => log.debug('unit could not be read', { unit, err }));
    }
    const stops = [
      manager.onUnitChanged(({ kind, properties }) => {
        if (kind === 'unloaded') settle(UNLOADED);
        else if (kind === 'changed' && mayBeOver(String(properties['SubState']))) look();
      }, unit),
      manager.onResync(look),
    ];
    stopWatching = () => stops.forEach((stop) => void stop());
    look();
  });
  return { over, stopWatching: () => stopWatching() };
}

/** Also ends what the command left running. Who had to be killed leaves a failed unit. */
async function stopCommand(manager: Manager, unit: string): Promise<void> {
  try {
    await manager.stopUnit(unit, 'replace', { jobTimeoutMs: STOP_JOB_TIMEOUT_MS });
    await manager.resetFailedUnit(unit);
  } catch (error) {
    if (!(error instanceof MetalhubError && error.code === 'MH_ERR_SYSTEMD_NO_SUCH_UNIT')) throw error;
  }
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
