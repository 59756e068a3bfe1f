import { isAllowed, type ProfileUser } from './profile-access.js';
import type { Config } from './schema.js';

type KernelTables = Pick<Config, 'kernel' | 'kernel_root' | 'hub'>;

/** Names of the kernels and kernel roots that a user is offered in a server of a profile. */
export function kernelsOf(config: KernelTables, user: ProfileUser, profile: string): string[] {
  return [...config.kernel, ...config.kernel_root]
    .filter(
      ({ profiles, allow }) => (profiles.length === 0 || profiles.includes(profile)) && isAllowed(allow, user, config),
    )
    .map(({ name }) => name);
}
