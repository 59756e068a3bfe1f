/**
 * The catalogue of everything that can go wrong, once for all programs.
 *
 * A code crosses sockets unchanged, appears in the journal as METALHUB_ERROR and in docs/errors.md. It is never
 * reused for another meaning. `{name}` in a message is filled from the error's details.
 */
export const ERROR_MESSAGES = {
  MH_ERR_INTERNAL: 'internal error',
  MH_ERR_BUSY: 'too many requests at once: {reason}',

  MH_ERR_CONFIG_SYNTAX: '{file}:{line}: syntax error: {reason}',
  MH_ERR_CONFIG_UNKNOWN_KEY: '{file}:{line}: {key}: unknown key',
  MH_ERR_CONFIG_VALUE: '{file}:{line}: {key}: {reason}',
  MH_ERR_CONFIG_FILE: '{file}: {reason}',

  MH_ERR_WIRE_MALFORMED: 'malformed message: {reason}',
  MH_ERR_WIRE_TOO_LARGE: 'message of {size} bytes is larger than the limit of {limit}',
  MH_ERR_WIRE_CLOSED: 'connection to {peer} was closed before it answered',
  MH_ERR_WIRE_UNREACHABLE: '{peer} cannot be reached: {reason}',
  MH_ERR_WIRE_TIMEOUT: '{peer} did not answer within {timeoutMs} ms',
  MH_ERR_WIRE_UNKNOWN_METHOD: 'no such request',
  MH_ERR_WIRE_FORBIDDEN: 'this account may not make this request',

  MH_ERR_SYSTEMD_UNAVAILABLE: 'systemd cannot be reached over D-Bus: {reason}',
  MH_ERR_SYSTEMD_UNIT_EXISTS: 'unit {unit} exists already',
  MH_ERR_SYSTEMD_NO_SUCH_UNIT: 'unit {unit} is not loaded',
  MH_ERR_SYSTEMD_ACCESS_DENIED: 'systemd refused the call',
  MH_ERR_SYSTEMD_JOB_FAILED: 'the job of unit {unit} ended with {result}',
  MH_ERR_SYSTEMD_TIMEOUT: 'systemd did not answer within {timeoutMs} ms',
  MH_ERR_SYSTEMD_CALL: 'call to systemd failed: {reason}',
  MH_ERR_SYSTEMD_LIBRARY: 'system library call {call} failed: {reason}',
  MH_ERR_SYSTEMD_LISTEN_FDS: 'no listening socket called {name} was passed in',
  MH_ERR_SYSTEMD_CREDENTIAL: 'credential {name} cannot be read: {reason}',

  MH_ERR_SPAWN_NAME: 'not a valid {what}',
  MH_ERR_SPAWN_PROFILE: 'no such profile: {profile}',
  MH_ERR_SPAWN_CHOICE: 'profile {profile} has no {choice} to choose',
  MH_ERR_SPAWN_KERNEL: 'no such kernel: {kernel}',
  MH_ERR_SPAWN_MOUNT: '{path}, which the profile mounts, is not there',
  MH_ERR_SPAWN_IDENTITY: 'key {key} is leased to another identity',
  MH_ERR_SPAWN_ACCOUNT: 'account {account} belongs to something else on this machine',
  MH_ERR_SPAWN_LOCAL: 'account {account} of the machine cannot be used: {reason}',
  MH_ERR_SPAWN_LOCAL_LOGIN: 'a login by {method} has no account of the machine',
  MH_ERR_SPAWN_CREATE: 'account {account} could not be made: {reason}',
  MH_ERR_SPAWN_PAM: 'PAM opened no session for account {account}',
  MH_ERR_SPAWN_LEASES: 'the file of uid leases cannot be used: {reason}',
  MH_ERR_SPAWN_LEASES_LOST: 'the uid leases are lost: {file} names none, but there are homes of {homes} users',
  MH_ERR_SPAWN_NO_LEASE: 'no uid is leased to key {key}',
  MH_ERR_SPAWN_RELEASE: 'the lease of key {key} cannot be released: {reason}',
  MH_ERR_SPAWN_ADOPT: 'the home of key {key} cannot be adopted: {reason}',
  MH_ERR_SPAWN_HOME_UNLEASED: 'the home directory {path} was there before its user: no uid is leased to them',
  MH_ERR_SPAWN_RANGE_FULL: 'no uid is left in the range {min}-{max}',
  MH_ERR_SPAWN_HOME: 'the home directory {path} cannot be used: {reason}',
  MH_ERR_SPAWN_HOME_LOCAL:
    'the home of key {key} is that of an account of the machine: metalhub gives nothing in it away',
  MH_ERR_SPAWN_HOME_FOREIGN: 'the home directory {path} belongs to {owner}',
  MH_ERR_SPAWN_REPAIR: 'the files in the home directory {path} could not be given to their user: {reason}',
  MH_ERR_SPAWN_UNIT_FOREIGN: 'unit {unit} exists and is not a server of this hub',
  MH_ERR_SPAWN_ALREADY_PENDING: 'another start or stop of this server is under way',
  MH_ERR_SPAWN_NOT_RUNNING: 'the server does not run',
  MH_ERR_SPAWN_LIMIT: '{name}: {wanted} is more than the {ceiling} that the configuration allows',
  MH_ERR_SPAWN_CANCELLED: 'the start was cancelled by a stop',
  MH_ERR_SPAWN_JUPYTER_MISSING: 'JupyterLab is not installed where the profile looks for it',
  MH_ERR_SPAWN_JUPYTER_OLD: 'the installed Jupyter Server is too old: version 2 or later is needed',
  MH_ERR_SPAWN_COMMAND: "the server's program could not be executed",
  MH_ERR_SPAWN_NOT_STARTED: 'systemd had no resources to start the server: {result}',
  MH_ERR_SPAWN_EXITED: 'the server ended before it was ready ({result}, status {status})',
  MH_ERR_SPAWN_TIMEOUT: 'the server was not ready within {timeoutSec} seconds',
  MH_ERR_SPAWN_DISK_FULL: 'no space is left on the disk',
  MH_ERR_SPAWN_OOM: 'the server ran out of memory',
  MH_ERR_SPAWN_HOOK: 'what shall be done before the start failed: {hook}',
  MH_ERR_SPAWN_EXEC: 'the command could not be started ({result}, status {status})',
  MH_ERR_SPAWN_NO_COMMAND: 'no such command runs',
  MH_ERR_SPAWN_DESCRIPTORS: 'standard input, output or error cannot be used: {reason}',

  MH_ERR_PAM_LIBRARY: 'libpam failed: {reason}',

  MH_ERR_LOGS_JOURNAL: 'the journal cannot be read: {reason}',

  MH_ERR_TLS_FILE: '{file}: {reason}',
  MH_ERR_TLS_NOT_INSTALLED: 'there is no usable certificate for the proxy: {reason}',

  MH_ERR_PROXY_TARGET: 'not an allowed target',
  MH_ERR_PROXY_ROUTE: 'not a valid route: {reason}',
  MH_ERR_PROXY_STALE: 'the routes have changed since they were looked at',
  MH_ERR_PROXY_STATE: 'the state of the proxy cannot be stored: {reason}',
  MH_ERR_PROXY_UNREACHABLE: 'the proxy cannot be reached: {reason}',

  MH_ERR_HUB_DATABASE_NEWER: 'database {file} has schema {found}, this version knows up to {known}',
  MH_ERR_HUB_DATABASE: 'the database cannot be used: {reason}',
  MH_ERR_HUB_NO_SUCH_USER: 'no such user: {user}',
  MH_ERR_HUB_SERVER_FROZEN: 'your server is paused by an administrator',
  MH_ERR_HUB_SERVER_NAME: '{server} cannot be the name of a server: {reason}',
  MH_ERR_HUB_SERVER_LIMIT: 'no more than {limit} named servers are possible',
  MH_ERR_HUB_SERVER_ACTIVE: 'the server must be stopped first',
  MH_ERR_HUB_NO_SUCH_SERVER: 'user {user} has no server {server}',
  MH_ERR_HUB_NAME_REFUSED: 'this name cannot be used here',
  MH_ERR_HUB_LOGIN_REFUSED: 'login refused',
  MH_ERR_HUB_THROTTLED: 'too many failed attempts',
  MH_ERR_HUB_CSRF: 'the form was not sent from a page of this hub',
  MH_ERR_HUB_FORBIDDEN: 'not allowed',
  MH_ERR_HUB_PROFILE: '{user} may not use profile {profile}',
  MH_ERR_HUB_NO_PROFILE: 'there is no kind of server that {user} may start',
  MH_ERR_HUB_BAD_REQUEST: 'bad request: {reason}',
  MH_ERR_HUB_NOT_FOUND: 'there is nothing at this address',

  MH_ERR_CLI_USAGE: '{reason}',
  MH_ERR_CLI_LISTEN: 'the proxy cannot listen on {addresses}; {outcome}',
} as const;

export type ErrorCode = keyof typeof ERROR_MESSAGES;
export type ErrorDetails = Readonly<Record<string, string | number | boolean>>;

export interface ErrorOptions {
  details?: ErrorDetails;
  /** What the reader can do about it: one sentence, complete commands. */
  hint?: string | undefined;
  cause?: unknown;
  /** Replaces the catalogue's text, for an error that came over a socket already formatted. */
  message?: string;
}

/** The one error class of the project. Unknown exceptions are never turned into it except as MH_ERR_INTERNAL. */
export class MetalhubError extends Error {
  override readonly name = 'MetalhubError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const details = options.details ?? {};
    super(
      options.message ?? formatErrorMessage(code, details),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.details = details;
    this.hint = options.hint;
  }
}

/** Fills the catalogue's template; a placeholder without a detail stays as `?`. */
export function formatErrorMessage(code: ErrorCode, details: ErrorDetails): string {
  return ERROR_MESSAGES[code].replace(/\{(\w+)\}/g, (_, name: string) => String(details[name] ?? '?'));
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERROR_MESSAGES, value);
}

/** The text of any thrown value, for details and logs. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error (`ENOENT`), `undefined` for anything else. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
