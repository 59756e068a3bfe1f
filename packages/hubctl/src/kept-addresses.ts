import { basePath } from '@metalhub/config/base-path.js';
import { printable } from './output.js';

/** Of the hub's report on a server. */
export interface ServerAddress {
  readonly user: string;
  /** `''` is the default server. */
  readonly name: string;
  readonly url: string;
}

/**
 * Servers that run elsewhere than below the path of `public_url`: it was changed after they were started, and a server
 * has the address it was started with until it ends.
 * @returns a sentence for each
 */
export function keptAddresses(servers: readonly ServerAddress[], publicUrl: string): string[] {
  const users = `${basePath(publicUrl)}/user/`;
  return servers
    .filter(({ url }) => !new URL(url).pathname.startsWith(users))
    .map(({ user, name, url }) => {
      const whose = `the server ${name === '' ? '' : `${name} `}of ${printable(user)}`;
      return `${whose} stays at ${new URL(url).pathname} until it is stopped`;
    });
}
