import type { AccountMode } from '@metalhub/config/account-modes.js';
import type { Config } from '@metalhub/config/schema.js';
import { kernelEntries } from './kernel-shape.js';
import { profileEntry } from './profile-entry.js';
import { serverEntry } from './server-entry.js';
import { type SpawnerConfig, spawnerConfigShape } from './spawner-config.js';

/** The spawner's part of a configuration. @throws {ShapeError} */
export function extractOf(config: Config): SpawnerConfig {
  const { accounts, login, server, profile } = config;
  const { mode, privileged_groups, uid_min, uid_max } = accounts;
  const pam = login.find(({ method }) => method === 'pam');
  const extract = {
    accounts: { uid_min, uid_max },
    local: { login: pam === undefined ? null : { allow: pam.allow, deny: pam.deny }, privileged_groups },
    server: serverEntry(server),
    profile: profile.map((entry) => profileEntry(entry, mode as AccountMode)),
    kernels: kernelEntries(config),
  };
  return spawnerConfigShape(extract, '');
}
