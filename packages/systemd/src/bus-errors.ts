import { type ErrorCode, MetalhubError } from '@metalhub/base/errors.js';

const CODES = new Map<string, ErrorCode>([
  ['org.freedesktop.systemd1.UnitExists', 'MH_ERR_SYSTEMD_UNIT_EXISTS'],
  ['org.freedesktop.systemd1.NoSuchUnit', 'MH_ERR_SYSTEMD_NO_SUCH_UNIT'],
  ['org.freedesktop.DBus.Error.AccessDenied', 'MH_ERR_SYSTEMD_ACCESS_DENIED'],
  ['org.freedesktop.DBus.Error.AuthFailed', 'MH_ERR_SYSTEMD_ACCESS_DENIED'],
  ['org.freedesktop.DBus.Error.InteractiveAuthorizationRequired', 'MH_ERR_SYSTEMD_ACCESS_DENIED'],
  ['org.freedesktop.DBus.Error.ServiceUnknown', 'MH_ERR_SYSTEMD_UNAVAILABLE'],
  ['org.freedesktop.DBus.Error.NameHasNoOwner', 'MH_ERR_SYSTEMD_UNAVAILABLE'],
  ['org.freedesktop.DBus.Error.NoReply', 'MH_ERR_SYSTEMD_UNAVAILABLE'],
  ['org.freedesktop.DBus.Error.Disconnected', 'MH_ERR_SYSTEMD_UNAVAILABLE'],
]);

// With these the bus says that nobody received the call, so that it can be made again whatever it does.
const UNDELIVERED = new Set(['org.freedesktop.DBus.Error.ServiceUnknown', 'org.freedesktop.DBus.Error.NameHasNoOwner']);

/**
 * The MetalhubError for an error reply; the raw name is kept in `details.busError`.
 *
 * @param unit the unit the call was about, `''` when none
 */
export function busError(name: string, text: string, member: string, unit: string): MetalhubError {
  const reason = text === '' ? name : text;
  return new MetalhubError(CODES.get(name) ?? 'MH_ERR_SYSTEMD_CALL', {
    details: { reason, busError: name, member, ...(unit === '' ? {} : { unit }) },
  });
}

/** For a connection that is not there, or was lost before the answer. */
export function unavailable(reason: string, cause?: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_SYSTEMD_UNAVAILABLE', {
    details: { reason },
    hint: 'see "systemctl status dbus.service"',
    cause,
  });
}

export function timedOut(timeoutMs: number, what: string, unit: string): MetalhubError {
  return new MetalhubError('MH_ERR_SYSTEMD_TIMEOUT', {
    details: { timeoutMs, what, ...(unit === '' ? {} : { unit }) },
  });
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof MetalhubError && error.code === 'MH_ERR_SYSTEMD_UNAVAILABLE';
}

export function isUndelivered(error: unknown): boolean {
  return error instanceof MetalhubError && UNDELIVERED.has(String(error.details.busError));
}

export function isNamed(error: unknown, busErrorName: string): boolean {
  return error instanceof MetalhubError && error.details.busError === busErrorName;
}
