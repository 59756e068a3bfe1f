import { existsSync, lstatSync } from 'node:fs';
import { MetalhubError } from '@metalhub/base/errors.js';
import { CONFIG_FILE, loadConfig } from '@metalhub/config/load.js';
import { isNobodyAllowed } from '@metalhub/config/login-rules.js';
import { type Check, type Finding, failed, ok, skipped } from './check.js';

const SECRETS_DIRECTORY = '/etc/metalhub/secrets';
const SECRETS = ['ticket-key', 'server-token-key', 'cookie-key'];
const PAM_SERVICE = '/etc/pam.d/metalhub';

export const checkConfig: Check = async () => {
  try {
    const config = loadConfig();
    const findings = [ok('configuration', `${CONFIG_FILE} has no mistakes`)];
    if (!isNobodyAllowed(config)) return findings;
    const fix = `set allow under [[login]] in ${CONFIG_FILE}, then hubctl apply`;
    return [...findings, failed('who may log in', 'nobody', fix)];
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return [failed('configuration', error.message, error.hint ?? `mend it, then hubctl config check`)];
  }
};

export const checkPamService: Check = async () => {
  if (existsSync(PAM_SERVICE)) return [ok('PAM service', PAM_SERVICE)];
  const fix = 'apt install --reinstall -o Dpkg::Options::=--force-confmiss metalhub';
  return [failed('PAM service', `${PAM_SERVICE} is missing: nobody can log in`, fix)];
};

export const checkSecrets: Check = async ({ isRoot }) => {
  if (!isRoot) return [skipped('secrets', `${SECRETS_DIRECTORY} is root's`)];
  return SECRETS.map((name) => checkSecret(name));
};

function checkSecret(name: string): Finding {
  const path = `${SECRETS_DIRECTORY}/${name}`;
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    return failed(`secret ${name}`, 'is missing', 'dpkg-reconfigure metalhub, then systemctl restart hub');
  const isPrivate = stat.isFile() && stat.uid === 0 && (stat.mode & 0o077) === 0;
  if (isPrivate && stat.size > 0) return ok(`secret ${name}`, 'root only');
  if (isPrivate) return failed(`secret ${name}`, 'is empty', `rm ${path}, then dpkg-reconfigure metalhub`);
  return failed(`secret ${name}`, 'can be read by others than root', `chown root:root ${path}; chmod 600 ${path}`);
}
