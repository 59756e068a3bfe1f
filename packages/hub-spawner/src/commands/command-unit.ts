import { type Key, userSlice } from '@metalhub/base/names.js';
import type { AuxiliaryUnit } from '@metalhub/systemd/manager.js';
import {
  bool,
  descriptor,
  envStrv,
  execStartEx,
  pairs,
  property,
  str,
  type UnitProperty,
  u64,
} from '@metalhub/systemd/unit-property.js';
import { PROGRAMS } from '../sandbox.js';
import { PROFILE_VARIABLE, sliceProperties } from '../unit-properties.js';
import { type UserUnitInput, userEnvironment, userUnitProperties } from '../user-unit.js';

/** Executes what the credential says, as bash does: 127 when there is no such command, 126 when it cannot be executed. */
const LAUNCHER = [`${PROGRAMS}/run-command`] as const;
export const COMMAND_CREDENTIAL = 'command';

const START_TIMEOUT_USEC = 60_000_000n;
/** From the first signal to SIGKILL, for what the command left running, and for a command whose caller has gone. */
const STOP_TIMEOUT_USEC = 5_000_000n;
/** Those above are systemd's own where a unit could not be set up. @see systemd.exec(5), PROCESS EXIT CODES */
const FIRST_SYSTEMD_STATUS = 200;
const LAST_SYSTEMD_STATUS = 243;
const LAST_SIGNAL = 31;

/** Where standard input, output and error of a command lead. */
export type CommandStreams =
  | { readonly kind: 'descriptors'; readonly fds: readonly [input: number, output: number, error: number] }
  | { readonly kind: 'terminal'; readonly path: string; readonly term: string };

export interface CommandUnitInput extends UserUnitInput {
  /** Root-only file with the command's words. */
  readonly commandFile: string;
  readonly streams: CommandStreams;
}

/**
 * Everything systemd is told about a command of an administrator's: all that the user's server has, and no word of the
 * command, which every local user could read.
 */
export function commandProperties(input: CommandUnitInput): UnitProperty[] {
  return [
    str('Description', `Command of an administrator as ${input.key}`),
    str('Type', 'exec'),
    // Stays until the spawner has read how it ended, and ends what it left running.
    bool('RemainAfterExit', true),
    str('CollectMode', 'inactive'),
    // However a command ends, no unit has failed.
    property('SuccessExitStatus', '(aiai)', [cleanStatuses(), numbers(1, LAST_SIGNAL)]),
    u64('TimeoutStartUSec', START_TIMEOUT_USEC),
    u64('TimeoutStopUSec', STOP_TIMEOUT_USEC),
    // Interactive shells heed nothing else.
    bool('SendSIGHUP', true),
    // In a pipe whose reader has gone a command shall end.
    bool('IgnoreSIGPIPE', false),
    str('SyslogIdentifier', 'jupyter'),
    execStartEx(LAUNCHER),
    pairs('LoadCredential', [[COMMAND_CREDENTIAL, input.commandFile]]),
    envStrv('Environment', {
      ...userEnvironment(input),
      [PROFILE_VARIABLE]: input.profile.name,
      ...(input.streams.kind === 'terminal' && { TERM: input.streams.term }),
    }),
    ...userUnitProperties(input),
    ...streamProperties(input.streams),
  ];
}

/** The user's slice, when no unit of theirs runs. */
export function commandSlice(key: Key, { profile }: Pick<UserUnitInput, 'profile'>): AuxiliaryUnit {
  return [userSlice(key), sliceProperties(key, profile)];
}

function streamProperties(streams: CommandStreams): UnitProperty[] {
  if (streams.kind === 'descriptors') {
    const [input, output, error] = streams.fds;
    return [
      descriptor('StandardInputFileDescriptor', input),
      descriptor('StandardOutputFileDescriptor', output),
      descriptor('StandardErrorFileDescriptor', error),
    ];
  }
  return [
    ...['StandardInput', 'StandardOutput', 'StandardError'].map((name) => str(name, 'tty')),
    str('TTYPath', streams.path),
    bool('TTYReset', true),
    bool('TTYVHangup', true),
  ];
}

function cleanStatuses(): number[] {
  return [...numbers(0, FIRST_SYSTEMD_STATUS - 1), ...numbers(LAST_SYSTEMD_STATUS + 1, 255)];
}

function numbers(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
