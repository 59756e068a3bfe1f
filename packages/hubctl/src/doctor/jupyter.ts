import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { MetalhubError } from '@metalhub/base/errors.js';
import { loadConfig } from '@metalhub/config/load.js';
import { pythonOf } from '@metalhub/config/python-of.js';
import type { ProfileConfig } from '@metalhub/config/schema.js';
import type { Manager } from '@metalhub/systemd/manager.js';
import { bool, execStartEx, str } from '@metalhub/systemd/unit-property.js';
import { type Check, type Finding, failed, ok, skipped } from './check.js';

const LAUNCHER = '/usr/lib/metalhub/launcher.py';

/** Asks the launcher itself, in a throw-away unit of its own account: what it finds there a server finds, too. */
export const checkJupyter: Check = async ({ manager, isRoot }) => {
  const profiles = listProfiles();
  if (!isRoot || manager === undefined) return [skipped('Jupyter', 'is looked for in a unit')];
  const labs = profiles.filter(({ command }) => command.length === 0);
  return Promise.all(labs.map((profile) => checkProfile(manager, profile)));
};

function listProfiles(): readonly ProfileConfig[] {
  try {
    return loadConfig().profile;
  } catch (error) {
    if (error instanceof MetalhubError) return [];
    throw error;
  }
}

async function checkProfile(manager: Manager, profile: ProfileConfig): Promise<Finding> {
  const { name } = profile;
  const python = pythonOf(profile.environment, profile.python);
  const subject = `Jupyter of profile ${name}`;
  if (!existsSync(python)) {
    return failed(
      subject,
      `${python} does not exist`,
      `set python or environment of the profile, or remove it, then hubctl apply`,
    );
  }
  const unit = `metalhub-doctor-${randomBytes(8).toString('hex')}.service`;
  const { result } = await manager.startTransientUnit(unit, 'fail', [
    str('Description', 'Looks for Jupyter on behalf of hubctl doctor'),
    str('Type', 'oneshot'),
    str('CollectMode', 'inactive-or-failed'),
    str('ProtectHome', 'yes'),
    bool('DynamicUser', true),
    execStartEx([python, LAUNCHER, '--check']),
  ]);
  if (result === 'done') return ok(subject, `${python} can start it`);
  const fix = `apt install jupyterlab for Debian's own, and see journalctl -u ${unit}`;
  return failed(subject, `${python} cannot start JupyterLab on Jupyter Server 2`, fix);
}
