import type { Manager } from '@metalhub/systemd/manager.js';
import type { CommandEnd } from '@metalhub/wire/spawner-admin.js';

/** What systemd says of the unit of a command. */
export interface CommandState {
  readonly isLoaded: boolean;
  readonly isFailed: boolean;
  readonly subState: string;
  /** `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`; 0 before its end. @see waitid(2) */
  readonly code: number;
  /** Exit status, or number of the signal. */
  readonly status: number;
  readonly result: string;
}

/** Of `ExecMainCode`: the process has ended by itself. @see waitid(2) */
export const CLD_EXITED = 1;
const SIGNALLED = 128;
const SIGTERM = 15;

/** Its unit was stopped from elsewhere, and is gone with what it said. */
export const STOPPED: CommandEnd = { status: SIGNALLED + SIGTERM, result: 'stopped' };

export async function readCommand(manager: Manager, unit: string): Promise<CommandState> {
  const { LoadState, ActiveState, SubState } = await manager.unitProperties(unit, 'Unit', [
    'LoadState',
    'ActiveState',
    'SubState',
  ]);
  const service = await manager.unitProperties(unit, 'Service', ['ExecMainCode', 'ExecMainStatus', 'Result']);
  return {
    isLoaded: LoadState === 'loaded',
    isFailed: ActiveState === 'failed',
    subState: String(SubState),
    code: Number(service.ExecMainCode),
    status: Number(service.ExecMainStatus),
    result: String(service.Result),
  };
}

/** Of a unit that systemd has forgotten. */
export const UNLOADED: CommandState = {
  isLoaded: false,
  isFailed: false,
  subState: 'dead',
  code: 0,
  status: 0,
  result: 'success',
};

/** Whether nothing more is to be expected of it. Not while it is being started or stopped. */
export function isOver({ isLoaded, subState }: CommandState): boolean {
  return !isLoaded || mayBeOver(subState);
}

/** Also of a unit that is not loaded. */
export function mayBeOver(subState: string): boolean {
  return subState === 'exited' || subState === 'dead' || subState === 'failed';
}

/** As shells count. Pure. */
export function commandEndOf({ isLoaded, code, status, result }: CommandState): CommandEnd {
  if (!isLoaded || code === 0) return STOPPED;
  return { status: code === CLD_EXITED ? status : SIGNALLED + status, result };
}
