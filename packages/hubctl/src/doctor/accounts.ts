import { MetalhubError } from '@metalhub/base/errors.js';
import { CONFIG_FILE } from '@metalhub/config/load.js';
import { findConfig } from '../find-config.js';
import { askSpawner, listLeases } from '../spawner-admin.js';
import { findRangeProblems, readRangeFiles } from '../uid-range.js';
import { type Check, failed, ok, warning } from './check.js';

/** A uid of a user's that anything else may use gives that the user's files. */
export const checkUidRange: Check = async () => {
  const accounts = findConfig()?.accounts;
  if (accounts === undefined) return [];
  const subject = `uids for users, ${accounts.uid_min}-${accounts.uid_max}`;
  const problems = findRangeProblems(accounts, readRangeFiles());
  if (problems.length === 0) return [ok(subject, 'meet nothing else of the machine')];
  return problems.map(({ state, text, fix }) => (state === 'failed' ? failed : warning)(subject, text, fix));
};

/** Almost used up: said before a new user cannot start a server. */
const FEW_LEFT = 100;

export const checkLeases: Check = async ({ spawnerSocket }) => {
  try {
    const { leases, lost } = await askSpawner(spawnerSocket, listLeases);
    const unleased = leases.filter(({ state }) => state === 'unleased').map(({ key }) => key);
    if (lost) {
      const fix = 'put /var/lib/metalhub/spawner/leases.json back from a backup, or hubctl leases adopt; see hubctl(1)';
      return [failed('uid leases', `are lost: no new user is let in, and ${unleased.length} homes are nobody's`, fix)];
    }
    const findings = [ok('uid leases', `${leases.length - unleased.length} given`)];
    if (unleased.length > 0) {
      const fix = 'hubctl leases adopt, or move them out of /var/lib/private/metalhub/home';
      const shown = `${unleased.slice(0, 5).join(', ')}${unleased.length > 5 ? ', …' : ''}`;
      findings.push(warning('homes without a lease', `nobody is let into them: ${shown}`, fix));
    }
    const accounts = findConfig()?.accounts;
    if (accounts === undefined) return findings;
    const { uid_min: min, uid_max: max } = accounts;
    const used = leases.filter(({ uid }) => uid !== null && uid >= min && uid <= max).length;
    const left = max - min + 1 - used;
    if (left < FEW_LEFT)
      findings.push(warning('uids for users', `${left} are left`, `raise accounts.uid_max in ${CONFIG_FILE}`));
    return findings;
  } catch (error) {
    if (!(error instanceof MetalhubError)) throw error;
    return [failed('uid leases', error.message, error.hint ?? 'journalctl -u hub-spawner -n 20')];
  }
};
