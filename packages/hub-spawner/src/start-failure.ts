import { type ErrorDetails, MetalhubError } from '@metalhub/base/errors.js';
import { PRIVATE_HOME_ROOT, privateHomePath } from '@metalhub/base/names.js';
import type { ServerStatus } from '@metalhub/wire/spawner.js';

/** As in launcher.py and adapter.py. */
export const LAUNCHER_EXIT = {
  noJupyter: 100,
  oldJupyter: 101,
  badHandover: 102,
  foreignFiles: 103,
  noCommand: 104,
} as const;
/** @see systemd.exec(5), PROCESS EXIT CODES */
const SYSTEMD_EXIT = {
  ...{ directory: 200, exec: 203, user: 217, pam: 224, namespace: 226, stateDirectory: 238, credentials: 243 },
} as const;

const FOREIGN_FILES = 'there are files of others in it';
const DEBIAN_PYTHON = '/usr/bin/python3';

export interface FailedStart {
  readonly unit: string;
  readonly python: string;
  /** Of a profile with a command. */
  readonly program?: string | undefined;
  readonly timeoutSec: number;
  readonly status: Pick<ServerStatus, 'key' | 'result' | 'exit_status'>;
  /** No block or no file is left where the homes are. */
  readonly isDiskFull: boolean;
  /** Of the profile's mounts and roots. */
  readonly missingPath?: string | undefined;
  /** Of a server that runs as an account of the machine. */
  readonly localAccount?: string | undefined;
  /** What of the profile's `before_start` runs in the unit, and the units that it waits for. */
  readonly hooks?: { readonly programs: readonly string[]; readonly units: readonly string[] };
}

/** What a start that failed is called, from what systemd says of the service. Pure. */
export function explainFailedStart(failed: FailedStart): MetalhubError {
  const { unit, python, timeoutSec, status, isDiskFull, missingPath, program, localAccount } = failed;
  const details = { unit };
  const logs = `see: journalctl -u ${unit}`;
  if (status.result === 'timeout') {
    return new MetalhubError('MH_ERR_SPAWN_TIMEOUT', { details: { ...details, timeoutSec }, hint: logs });
  }
  if (status.result === 'oom-kill') {
    return new MetalhubError('MH_ERR_SPAWN_OOM', { details, hint: 'raise memory_max of the profile in metalhub.toml' });
  }
  const hook = failedHook(failed);
  if (hook !== undefined) return hook;
  // It never ran: systemd could not fork (TasksMax=, memory), for the service or for its socket before it.
  if ((status.result === 'resources' || status.result === null) && status.exit_status === null && !isDiskFull) {
    const result = status.result === null ? 'its socket or its slice failed' : 'no task, memory or descriptor was left';
    return new MetalhubError('MH_ERR_SPAWN_NOT_STARTED', {
      details: { ...details, result },
      hint: `${logs} -u ${unit.replace(/service$/, 'socket')}`,
    });
  }
  const exit = status.result === 'exit-code' ? status.exit_status : null;
  switch (exit) {
    case LAUNCHER_EXIT.noJupyter:
      return new MetalhubError('MH_ERR_SPAWN_JUPYTER_MISSING', {
        details: { ...details, python },
        hint: installHint(python),
      });
    case LAUNCHER_EXIT.oldJupyter:
      return new MetalhubError('MH_ERR_SPAWN_JUPYTER_OLD', {
        details: { ...details, python },
        hint: installHint(python),
      });
    case LAUNCHER_EXIT.foreignFiles:
      // Only the launcher looks; a program that has taken its place may end with any status.
      if (program !== undefined) return exited(details, status, logs);
      return new MetalhubError('MH_ERR_SPAWN_REPAIR', {
        details: { ...details, path: privateHomePath(status.key), reason: FOREIGN_FILES },
        hint: `run: hubctl fix-home ${status.key}`,
      });
    case LAUNCHER_EXIT.noCommand:
      return new MetalhubError('MH_ERR_SPAWN_COMMAND', {
        details: { ...details, program: program ?? '' },
        hint: `the profile's command begins with ${program ?? 'no program'}: it must exist and be executable by everybody`,
      });
    case SYSTEMD_EXIT.exec:
      return new MetalhubError('MH_ERR_SPAWN_COMMAND', {
        details: { ...details, python },
        hint: `the profile's python is ${python}: it must exist and be executable by everybody`,
      });
    case SYSTEMD_EXIT.stateDirectory: {
      if (isDiskFull) return diskFull(details);
      const path = privateHomePath(status.key);
      return new MetalhubError('MH_ERR_SPAWN_HOME', {
        details: { ...details, path, reason: 'systemd could not prepare it' },
        hint: logs,
      });
    }
    case SYSTEMD_EXIT.pam:
      if (localAccount === undefined) return setUpFailed(details, status, logs);
      return new MetalhubError('MH_ERR_SPAWN_PAM', {
        details: { ...details, account: localAccount },
        hint: `it may be expired, or its password be; see /etc/pam.d/metalhub-session and: journalctl -u ${unit}`,
      });
    case SYSTEMD_EXIT.directory:
      if (localAccount === undefined) return setUpFailed(details, status, logs);
      return localHome(details, localAccount, 'the account may not go into it');
    case SYSTEMD_EXIT.namespace:
      if (isDiskFull) return diskFull(details);
      if (missingPath === undefined && localAccount !== undefined) {
        return localHome(
          details,
          localAccount,
          'it is perhaps not there: systemd could not lay out what the server sees',
        );
      }
      if (missingPath === undefined) return setUpFailed(details, status, logs);
      return new MetalhubError('MH_ERR_SPAWN_MOUNT', {
        details: { ...details, path: missingPath },
        hint: 'mount or make it, or take it out of the profile in metalhub.toml',
      });
    case SYSTEMD_EXIT.user:
    case SYSTEMD_EXIT.credentials:
      return isDiskFull ? diskFull(details) : setUpFailed(details, status, logs);
    default:
      if (isDiskFull) return diskFull(details);
      return exited(details, status, logs);
  }
}

/** Where it lies only the machine knows: this daemon cannot see homes. */
function localHome(details: ErrorDetails, account: string, reason: string): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_HOME', {
    details: { ...details, path: `of ${account}`, reason },
    hint: `see "getent passwd ${account}" and: journalctl -u ${details['unit']}`,
  });
}

/** The main process never ran, although nothing but a hook stands before it. */
function failedHook({ unit, status, hooks }: FailedStart): MetalhubError | undefined {
  if (status.exit_status !== null || hooks === undefined) return undefined;
  const isProgram = ['exit-code', 'signal', 'core-dump'].includes(status.result ?? '');
  // Nothing at all has run, and nothing was wrong with that: its job failed with another's.
  const isUnit = status.result === null || status.result === 'success';
  const suspects = isProgram ? hooks.programs : isUnit ? hooks.units : [];
  if (suspects.length === 0) return undefined;
  const hint = `see: journalctl -u ${isProgram ? unit : suspects.join(' -u ')}`;
  return new MetalhubError('MH_ERR_SPAWN_HOOK', { details: { unit, hook: suspects.join(', ') }, hint });
}

function setUpFailed(details: ErrorDetails, status: FailedStart['status'], logs: string): MetalhubError {
  return exited(details, status, `systemd could not set the server up; ${logs}`);
}

function exited(details: ErrorDetails, status: FailedStart['status'], hint: string): MetalhubError {
  const how = { result: status.result ?? 'unknown', status: status.exit_status ?? 'unknown' };
  return new MetalhubError('MH_ERR_SPAWN_EXITED', { details: { ...details, ...how }, hint });
}

/** Whether systemd could not lay out what the server sees, perhaps because a path of the profile's is missing. */
export function isNamespaceFailure({ result, exit_status }: FailedStart['status']): boolean {
  return result === 'exit-code' && exit_status === SYSTEMD_EXIT.namespace;
}

/** Whether a start failed because the launcher has found files of others, which a repair gives to the user. */
export function isForeignFilesFound(error: unknown): boolean {
  return (
    error instanceof MetalhubError && error.code === 'MH_ERR_SPAWN_REPAIR' && error.details['reason'] === FOREIGN_FILES
  );
}

function diskFull(details: ErrorDetails): MetalhubError {
  return new MetalhubError('MH_ERR_SPAWN_DISK_FULL', {
    details,
    hint: `free space or inodes under ${PRIVATE_HOME_ROOT}`,
  });
}

function installHint(python: string): string {
  if (python === DEBIAN_PYTHON) return 'install it with: apt install jupyterlab';
  return `install it with: ${python} -m pip install --upgrade jupyterlab`;
}
