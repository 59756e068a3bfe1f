import { openDatagramSender } from './datagram.js';
import { takeSystemdEnvironment } from './environment.js';

// PID 1 reads its queue within milliseconds; when it hangs, waiting longer for it helps nobody.
const MAX_WAIT_MS = 1000;
const MAX_STATUS_CHARACTERS = 512;

export interface Watchdog {
  /** Milliseconds between two pings, `undefined` when the unit has no `WatchdogSec=`. */
  readonly intervalMs: number | undefined;
  stop(): void;
}

/**
 * Tells systemd that the start (or a reload) is complete.
 *
 * Like all functions of this file it does nothing, and returns false, when systemd gave no notify socket; a notify
 * socket that cannot be reached is an error, because the unit would then wait for its start time-out.
 *
 * @param status one line for `systemctl status`
 * @throws {MH_ERR_SYSTEMD_LIBRARY}
 * @see sd_notify(3)
 */
export function notifyReady(status?: string): boolean {
  return notify({ READY: '1', ...statusLine(status) });
}

export function notifyStatus(status: string): boolean {
  return notify(statusLine(status));
}

export function notifyStopping(status?: string): boolean {
  return notify({ STOPPING: '1', ...statusLine(status) });
}

/** Opens a reload, which {@link notifyReady} closes; right for `Type=notify-reload` too. */
export function notifyReloading(status?: string): boolean {
  return notify({ RELOADING: '1', MONOTONIC_USEC: String(monotonicUsec()), ...statusLine(status) });
}

/** Asks systemd for more time to start, reload or stop. */
export function notifyExtendTimeout(milliseconds: number): boolean {
  return notify({ EXTEND_TIMEOUT_USEC: String(Math.ceil(milliseconds * 1000)) });
}

/** Which process systemd shall take as the unit's main process. */
export function notifyMainPid(pid: number): boolean {
  return notify({ MAINPID: String(pid) });
}

/** Starts to ping at half of `WatchdogSec=`; the timer does not keep the process alive. */
export function startWatchdog(): Watchdog {
  const { watchdogUsec, watchdogPid } = takeSystemdEnvironment();
  const isForUs = watchdogPid === undefined || watchdogPid === process.pid;
  if (watchdogUsec === undefined || watchdogUsec === 0 || !isForUs) return { intervalMs: undefined, stop() {} };
  const intervalMs = Math.max(1, Math.floor(watchdogUsec / 2000));
  notify({ WATCHDOG: '1' });
  const timer = setInterval(() => notify({ WATCHDOG: '1' }), intervalMs);
  timer.unref();
  return { intervalMs, stop: () => clearInterval(timer) };
}

function notify(assignments: Record<string, string>): boolean {
  const { notifySocket } = takeSystemdEnvironment();
  if (notifySocket === undefined) return false;
  const lines = Object.entries(assignments).map(([name, value]) => `${name}=${value}`);
  const sender = openDatagramSender(notifySocket, { maxWaitMs: MAX_WAIT_MS });
  try {
    return sender.send(Buffer.from(lines.join('\n'), 'utf8'), true) === 'sent';
  } finally {
    sender.close();
  }
}

/** A line break in the text would be read as a further assignment, so it must not reach systemd. */
function statusLine(status: string | undefined): Record<string, string> {
  if (status === undefined) return {};
  return { STATUS: status.replace(/\p{Cc}+/gu, ' ').slice(0, MAX_STATUS_CHARACTERS) };
}

/** libuv reads CLOCK_MONOTONIC, the clock that systemd compares with. */
function monotonicUsec(): bigint {
  return process.hrtime.bigint() / 1000n;
}
