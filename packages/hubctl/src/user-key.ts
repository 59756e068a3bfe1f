import { MetalhubError } from '@metalhub/base/errors.js';
import { isKey, type Key, parseKey } from '@metalhub/base/names.js';
import type { Context } from './command.js';
import { printable } from './output.js';

interface User {
  readonly key: string;
  readonly name: string;
}

/**
 * The key of the user with that login name, or with that key. Without the hub only a key says who is meant.
 *
 * @throws {MH_ERR_HUB_NO_SUCH_USER} {MH_ERR_CLI_USAGE} two logins have the name; {MH_ERR_WIRE_UNREACHABLE}
 */
export async function findUserKey(context: Context, user: string): Promise<Key> {
  let users: readonly User[];
  try {
    ({ users } = (await context.admin.get('/admin/users')) as { users: readonly User[] });
  } catch (error) {
    const isAway = error instanceof MetalhubError && error.code.startsWith('MH_ERR_WIRE_');
    if (!isAway || !isKey(user)) throw error;
    context.stderr(`hubctl: the hub cannot be asked who ${user} is: taking it for a key\n`);
    return user;
  }
  const found = users.filter(({ name }) => name === user);
  const [only = users.find(({ key }) => key === user)] = found;
  if (only === undefined) {
    throw new MetalhubError('MH_ERR_HUB_NO_SUCH_USER', {
      details: { user: printable(user) },
      hint: '"hubctl users" lists them',
    });
  }
  if (found.length > 1) {
    const reason = `several logins are called ${printable(user)}: name one of the keys ${found.map(({ key }) => key).join(', ')}`;
    throw new MetalhubError('MH_ERR_CLI_USAGE', { details: { reason } });
  }
  return parseKey(only.key);
}
