import { readFileSync, statfsSync } from 'node:fs';
import { errorText } from '@metalhub/base/errors.js';
import { type Check, type Finding, failed, ok, warning } from './check.js';

const MIN_SYSTEMD = 257;
const MIN_FREE_BYTES = 200 * 2 ** 20;

/** The version decides how homes are owned and which directives of the units count. */
export const checkSystemd: Check = async ({ manager }) => {
  if (manager === undefined) {
    return [failed('systemd', 'cannot be reached over D-Bus', 'systemctl status dbus.service dbus.socket')];
  }
  const version = String(await manager.managerProperty('Version'));
  const major = Number(/^[0-9]+/.exec(version)?.[0] ?? 0);
  if (major >= MIN_SYSTEMD) return [ok('systemd', `version ${version}`)];
  return [failed('systemd', `version ${version} is older than ${MIN_SYSTEMD}`, 'upgrade to Debian 13')];
};

/** Without nss-systemd a user's uid has no name, and `~`, git and ssh fail in their terminal. */
export const checkNameService: Check = async () =>
  ['passwd', 'group'].map((database) => {
    const subject = `name service for ${database}`;
    const sources = nameServiceSources(readFileSync('/etc/nsswitch.conf', 'utf8'), database);
    if (sources.includes('systemd')) return ok(subject, 'asks systemd');
    return failed(
      subject,
      'does not ask systemd',
      `apt install libnss-systemd, then add "systemd" to ${database}: in /etc/nsswitch.conf`,
    );
  });

/** Sources of one database of nsswitch.conf(5), without the bracketed actions. */
export function nameServiceSources(file: string, database: string): string[] {
  const line = file.split('\n').find((text) => text.replace(/#.*/, '').trim().startsWith(`${database}:`)) ?? '';
  return line
    .replace(/#.*/, '')
    .replace(/\[[^\]]*\]/g, ' ')
    .split(/\s+/)
    .slice(1)
    .filter((source) => source !== '');
}

/** With 0 any user could link to a foreign file in their home and have it given to them when the home is re-owned. */
export const checkHardLinks: Check = async () => {
  const subject = 'fs.protected_hardlinks';
  if (readFileSync('/proc/sys/fs/protected_hardlinks', 'utf8').trim() === '1') return [ok(subject, 'is 1')];
  return [
    failed(
      subject,
      'is 0: users can link to files of others',
      'sysctl -w fs.protected_hardlinks=1, and set it in /etc/sysctl.d',
    ),
  ];
};

export const checkDisk: Check = async () => ['/var/lib/metalhub', '/var/lib/private', '/run/metalhub'].map(checkFree);

function checkFree(path: string): Finding {
  const subject = `disk space in ${path}`;
  try {
    const { bavail, bsize, files, ffree } = statfsSync(path);
    const free = bavail * bsize;
    if (files > 0 && ffree < 1000)
      return failed(
        subject,
        `${ffree} files can still be made`,
        `remove files, or make the file system of ${path} larger`,
      );
    const text = `${Math.floor(free / 2 ** 20)} MiB free`;
    if (free >= MIN_FREE_BYTES || path.startsWith('/run')) return ok(subject, text);
    return warning(subject, text, `remove files, or make the file system of ${path} larger`);
  } catch (error) {
    return failed(subject, errorText(error), 'systemd-tmpfiles --create metalhub.conf');
  }
}
