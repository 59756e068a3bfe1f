import { dirname, isAbsolute, join } from 'node:path';
import type { BusValue } from '@metalhub/systemd/variant.js';
import { readIfThere } from '../files.js';
import { type Check, ok, warning } from './check.js';

const PAM_DIRECTORY = '/etc/pam.d';
const SERVICE = 'metalhub';
const FAILLOCK_CONFIG = '/etc/security/faillock.conf';
const TALLY_DIRECTORY = '/run/faillock';
/** Any instance has what the template and its drop-ins say. */
const UNIT = 'hub-pam@doctor.service';
const MAX_DEPTH = 16;
/** Bits of CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SETGID and CAP_SETUID. @see capabilities(7) */
const CAPABILITIES = [0n, 2n, 6n, 7n].reduce((mask, bit) => mask | (1n << bit), 0n);

/** Of @chown and @setuid. */
const SYSTEM_CALLS = ['fchown', 'setreuid'];

/** A file that is missing says nothing. */
const read = (path: string): string => readIfThere(path) ?? '';

/** In the sandbox of hub-pam@.service pam_faillock counts nothing, and says nothing about it. */
export const checkFaillock: Check = async ({ manager }) => {
  const lines = pamLines(SERVICE, read);
  const faillock = lines.find((line) => /(?:^|[\s/])pam_faillock\.so(?:\s|$)/.test(line));
  if (faillock === undefined || manager === undefined) return [];
  const names = ['CapabilityBoundingSet', 'ReadWritePaths', 'SystemCallFilter'] as const;
  const unit = await manager.unitProperties(UNIT, 'Service', names);
  const directory = tallyDirectory(faillock, read(FAILLOCK_CONFIG));
  const subject = 'pam_faillock';
  if (allowsTally(unit, directory)) return [ok(subject, 'can count failed logins')];
  const fix = `write /etc/systemd/system/hub-pam@.service.d/site.conf with the lines for pam_faillock that "systemctl cat ${UNIT}" shows${directory === TALLY_DIRECTORY ? '' : ` and ReadWritePaths=${directory}`}, then systemctl daemon-reload`;
  return [warning(subject, `is asked by ${PAM_DIRECTORY}/${SERVICE}, but hub-pam lets it count nothing`, fix)];
};

/** Lines of a service, those of included files in their place, without comments. A file that is missing has none. */
export function pamLines(service: string, read: (path: string) => string, depth = 0): string[] {
  if (depth > MAX_DEPTH) return [];
  const path = isAbsolute(service) ? service : join(PAM_DIRECTORY, service);
  const lines = read(path)
    .replace(/\\\n/g, ' ')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim());
  return lines.flatMap((line) => {
    const included = /^@include\s+(\S+)/.exec(line)?.[1] ?? /^-?\w+\s+(?:include|substack)\s+(\S+)/.exec(line)?.[1];
    if (included !== undefined) return pamLines(included, read, depth + 1);
    return line === '' ? [] : [line];
  });
}

/** Where failures are counted: the module's argument, else its configuration, else its default. @see pam_faillock(8) */
export function tallyDirectory(line: string, config: string): string {
  const inConfig = /^\s*dir\s*=\s*(\S+)/m.exec(config)?.[1];
  return /\sdir=(\S+)/.exec(line)?.[1] ?? inConfig ?? TALLY_DIRECTORY;
}

export function allowsTally(
  unit: Readonly<Record<'CapabilityBoundingSet' | 'ReadWritePaths' | 'SystemCallFilter', BusValue>>,
  directory: string,
): boolean {
  const { CapabilityBoundingSet: capabilities, ReadWritePaths: paths, SystemCallFilter: filter } = unit;
  if (typeof capabilities !== 'bigint' || (capabilities & CAPABILITIES) !== CAPABILITIES) return false;
  const [isAllowList, calls] = Array.isArray(filter) ? filter : [];
  if (isAllowList === true && !SYSTEM_CALLS.every((call) => Array.isArray(calls) && calls.includes(call))) return false;
  const writable = new Set(Array.isArray(paths) ? paths.map((path) => String(path).replace(/^[-+]+/, '')) : []);
  for (let path = directory; ; path = dirname(path)) {
    if (writable.has(path)) return true;
    if (path === dirname(path)) return false;
  }
}
