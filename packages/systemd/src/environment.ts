/** What systemd told this process through its environment. */
export interface SystemdEnvironment {
  /** Path of the notify socket, `@` in front for an abstract one. */
  readonly notifySocket: string | undefined;
  /** Microseconds between two expected pings. */
  readonly watchdogUsec: number | undefined;
  readonly watchdogPid: number | undefined;
  readonly listenPid: number | undefined;
  readonly listenFdCount: number;
  /** In the order of the descriptors; may be shorter than {@link listenFdCount}. */
  readonly listenFdNames: readonly string[];
  readonly credentialsDirectory: string | undefined;
  /** `<device>:<inode>` of the journal's stream, decimal. */
  readonly journalStream: string | undefined;
  readonly stateDirectories: readonly string[];
  readonly runtimeDirectories: readonly string[];
  readonly cacheDirectories: readonly string[];
  /** 32 hexadecimal digits, one value per start of the unit. */
  readonly invocationId: string | undefined;
}

// Whoever inherits these would report in our name, or adopt descriptors that are not there.
const OURS_ALONE = /^(?:NOTIFY_SOCKET|WATCHDOG_USEC|WATCHDOG_PID|LISTEN_FDS|LISTEN_PID|LISTEN_PIDFDID|LISTEN_FDNAMES)$/;

const taken = new WeakMap<NodeJS.ProcessEnv, SystemdEnvironment>();

/**
 * Takes systemd's variables, once, and removes from the environment those that no child may inherit.
 *
 * The only place in the project that reads `process.env`. Later calls return the first result.
 *
 * @see systemd.exec(5), sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3)
 */
export function takeSystemdEnvironment(environment: NodeJS.ProcessEnv = process.env): SystemdEnvironment {
  const known = taken.get(environment);
  if (known !== undefined) return known;
  const fresh = readEnvironment(environment);
  for (const name of Object.keys(environment)) {
    if (OURS_ALONE.test(name)) delete environment[name];
  }
  taken.set(environment, fresh);
  return fresh;
}

/** What an administrator's shell says of them and of their terminal; nothing that anybody may rely on. */
export function callerEnvironment(environment: NodeJS.ProcessEnv = process.env): {
  readonly terminal: string | undefined;
  /** Who became root by sudo. */
  readonly sudoUser: string | undefined;
} {
  return { terminal: textOf(environment.TERM), sudoUser: textOf(environment.SUDO_USER) };
}

function readEnvironment(environment: NodeJS.ProcessEnv): SystemdEnvironment {
  return Object.freeze({
    notifySocket: textOf(environment.NOTIFY_SOCKET),
    watchdogUsec: wholeNumberOf(environment.WATCHDOG_USEC),
    watchdogPid: wholeNumberOf(environment.WATCHDOG_PID),
    listenPid: wholeNumberOf(environment.LISTEN_PID),
    listenFdCount: wholeNumberOf(environment.LISTEN_FDS) ?? 0,
    listenFdNames: listOf(environment.LISTEN_FDNAMES),
    credentialsDirectory: textOf(environment.CREDENTIALS_DIRECTORY),
    journalStream: textOf(environment.JOURNAL_STREAM),
    stateDirectories: listOf(environment.STATE_DIRECTORY),
    runtimeDirectories: listOf(environment.RUNTIME_DIRECTORY),
    cacheDirectories: listOf(environment.CACHE_DIRECTORY),
    invocationId: textOf(environment.INVOCATION_ID),
  });
}

function textOf(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}

function listOf(value: string | undefined): readonly string[] {
  return value === undefined || value === '' ? [] : value.split(':');
}

function wholeNumberOf(value: string | undefined): number | undefined {
  if (value === undefined || !/^[0-9]{1,15}$/.test(value)) return undefined;
  return Number(value);
}
