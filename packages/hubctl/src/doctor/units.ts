import { lstatSync } from 'node:fs';
import { findGroup } from '@metalhub/systemd/accounts.js';
import { type Check, type Finding, failed, ok } from './check.js';

/** Units that run always; the others are started by their sockets. */
const ALWAYS_ON = ['metalhub.target', 'hub.service', 'hub-proxy.service'];
const SOCKETS: readonly { unit: string; path?: string; group?: string }[] = [
  { unit: 'hub-proxy.socket' },
  { unit: 'hub-proxy-control.socket', path: '/run/metalhub/proxy.sock', group: 'metalhub' },
  { unit: 'hub.socket', path: '/run/metalhub/hub.sock', group: 'metalhub-proxy' },
  { unit: 'hub-admin.socket', path: '/run/metalhub/admin.sock', group: 'metalhub-admin' },
  { unit: 'hub-spawner.socket', path: '/run/metalhub/spawner.sock', group: 'metalhub' },
  { unit: 'hub-spawner-admin.socket', path: '/run/metalhub/spawner-admin.sock', group: 'metalhub-admin' },
  { unit: 'hub-pam.socket', path: '/run/metalhub/pam.sock', group: 'metalhub' },
  { unit: 'hub-logs.socket', path: '/run/metalhub/logs.sock', group: 'metalhub' },
];

export const checkUnits: Check = async (context) => {
  const names = [...ALWAYS_ON, ...SOCKETS.map(({ unit }) => unit)];
  const loaded = (await context.manager?.listUnitsByPatterns([], names)) ?? [];
  const states = new Map(loaded.map(({ name, activeState }) => [name, activeState]));
  return names.map((unit) => judgeUnit(unit, states.get(unit)));
};

function judgeUnit(unit: string, state: string | undefined): Finding {
  const subject = `unit ${unit}`;
  if (state === 'active') return ok(subject, 'active');
  const fix = unit.endsWith('.target')
    ? `systemctl enable --now ${unit}`
    : `journalctl -u ${unit} -n 20, then systemctl start ${unit}`;
  return failed(subject, state ?? 'not loaded', fix);
}

/** Who may call a daemon is said by its socket's owner and mode alone. */
export const checkSockets: Check = async () => {
  const findings = SOCKETS.map(async ({ unit, path, group }) =>
    path === undefined || group === undefined ? [] : [await checkSocket(unit, path, group)],
  );
  return (await Promise.all(findings)).flat();
};

async function checkSocket(unit: string, path: string, group: string): Promise<Finding> {
  const subject = `socket ${path}`;
  const stat = lstatSync(path, { throwIfNoEntry: false });
  const fix = `systemctl restart ${unit}`;
  if (stat === undefined) return failed(subject, 'is missing', fix);
  const gid = (await findGroup(group))?.gid;
  if (gid === undefined) return failed(subject, `group ${group} is missing`, 'systemd-sysusers');
  const mode = stat.mode & 0o777;
  if (stat.isSocket() && stat.uid === 0 && stat.gid === gid && mode === 0o660) return ok(subject, `root:${group} 0660`);
  return failed(subject, `owner ${stat.uid}:${stat.gid}, mode ${mode.toString(8)}, not root:${group} 660`, fix);
}
