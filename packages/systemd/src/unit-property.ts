import { MetalhubError } from '@metalhub/base/errors.js';
import { type BusInput, Variant } from './variant.js';

/** One property of a unit, as `StartTransientUnit` and `SetUnitProperties` take it. */
export type UnitProperty = readonly [name: string, value: Variant];

/** What systemd shows and takes as `infinity`. */
export const U64_INFINITY = 0xffff_ffff_ffff_ffffn;

// Every text goes through property(), because a line break in some of them becomes a line of the unit file, and after
// the next daemon-reload a command run as root (security.md finding 2).

/** `s`: `User`, `Slice`, `Type`, `Description`, `WorkingDirectory`, `KillMode` … */
export function str(name: string, value: string): UnitProperty {
  return property(name, 's', value);
}

/** `b`: `DynamicUser`, `PrivateTmp`, `RemoveOnStop` … */
export function bool(name: string, value: boolean): UnitProperty {
  return property(name, 'b', value);
}

/** `u`: `SocketMode`, `UMask`, `Backlog` … */
export function u32(name: string, value: number): UnitProperty {
  return property(name, 'u', value);
}

/** `i`: `Nice`, `OOMScoreAdjust`, `SystemCallErrorNumber` … */
export function i32(name: string, value: number): UnitProperty {
  return property(name, 'i', value);
}

/** `t`: bytes (`MemoryMax`), microseconds (`TimeoutStartUSec`), masks (`RestrictNamespaces`), counts (`TasksMax`). */
export function u64(name: string, value: bigint): UnitProperty {
  return property(name, 't', value);
}

/** `h`: `StandardInputFileDescriptor` and its kin; systemd gets a copy of the open descriptor. */
export function descriptor(name: string, fd: number): UnitProperty {
  return property(name, 'h', fd);
}

/** `as`: `StateDirectory`, `ExecPaths`, `Requires`, `After`, `BindsTo` … */
export function strv(name: string, values: readonly string[]): UnitProperty {
  return property(name, 'as', values);
}

/** `as` of `NAME=value`. World-readable over D-Bus: never a secret. */
export function envStrv(name: string, variables: Readonly<Record<string, string>>): UnitProperty {
  return strv(
    name,
    Object.entries(variables).map(([variable, value]) => `${variable}=${value}`),
  );
}

/** `a(ss)`: `LoadCredential`, `TemporaryFileSystem`, `DeviceAllow` … */
export function pairs(name: string, values: readonly (readonly [string, string])[]): UnitProperty {
  return property(name, 'a(ss)', values);
}

/** `Listen`, `a(ss)`: for example `['Stream', '/run/metalhub/servers/ada.sock']`. */
export function listen(addresses: readonly (readonly [type: string, address: string])[]): UnitProperty {
  return pairs('Listen', addresses);
}

/** `(bas)` with true: only these are allowed. `SystemCallFilter`, `RestrictAddressFamilies`, `RestrictFileSystems`. */
export function allowList(name: string, values: readonly string[]): UnitProperty {
  return property(name, '(bas)', [true, values]);
}

/** `(bas)` with false: all but these are allowed. */
export function denyList(name: string, values: readonly string[]): UnitProperty {
  return property(name, '(bas)', [false, values]);
}

export interface BindMount {
  readonly source: string;
  readonly destination: string;
  /** Whether a missing source is fine. */
  readonly ignoreMissing?: boolean;
  readonly recursive?: boolean;
}

const MS_REC = 0x4000n;

/** `a(ssbt)`: `BindPaths`, `BindReadOnlyPaths`. */
export function bindMounts(name: string, mounts: readonly BindMount[]): UnitProperty {
  const values = mounts.map((mount) => [
    mount.source,
    mount.destination,
    mount.ignoreMissing ?? false,
    (mount.recursive ?? true) ? MS_REC : 0n,
  ]);
  return property(name, 'a(ssbt)', values);
}

/**
 * `a(sasas)`: `ExecStartEx`, `ExecStartPreEx`, `ExecStopPostEx` … with one command.
 *
 * @param argv the first one is the absolute path of the program, executed without a shell
 * @param flags names of systemd.service(5)'s prefixes; without variable expansion unless given
 */
export function execEx(
  name: string,
  argv: readonly [string, ...string[]],
  flags: readonly string[] = ['no-env-expand'],
): UnitProperty {
  return property(name, 'a(sasas)', [[argv[0], argv, flags]]);
}

/** {@link execEx} of `ExecStartEx`. */
export function execStartEx(argv: readonly [string, ...string[]], flags?: readonly string[]): UnitProperty {
  return execEx('ExecStartEx', argv, flags);
}

/**
 * A property of any other type.
 *
 * @throws {MH_ERR_SYSTEMD_CALL} a text in it has a control character
 */
export function property(name: string, signature: string, value: BusInput): UnitProperty {
  refuseControlCharacters(name, value);
  return [name, new Variant(signature, value)];
}

function refuseControlCharacters(name: string, value: BusInput): void {
  if (Array.isArray(value)) {
    for (const item of value) refuseControlCharacters(name, item);
  } else if (typeof value === 'string' && /[\p{Cc}\u2028\u2029]/u.test(value)) {
    throw new MetalhubError('MH_ERR_SYSTEMD_CALL', { details: { reason: `control character in ${name}=` } });
  }
}
