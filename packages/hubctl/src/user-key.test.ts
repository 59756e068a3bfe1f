import { MetalhubError } from '@metalhub/base/errors.js';
import t from 'tap';
import type { Context } from './command.js';
import { findUserKey } from './user-key.js';

function contextOf(users: unknown, printed: string[] = []): Context {
  const get = async (): Promise<unknown> => {
    if (users instanceof Error) throw users;
    return { users };
  };
  return { admin: { get }, stderr: (text: string) => void printed.push(text) } as unknown as Context;
}

const users = [
  { name: 'Anna', key: 'anna' },
  { name: 'bob', key: 'u2345' },
  { name: 'max', key: 'max' },
  { name: 'max', key: 'u6789' },
];

t.test('a user is known by the login name, and by the key', async (t) => {
  const context = contextOf(users);
  t.equal(await findUserKey(context, 'Anna'), 'anna');
  t.equal(await findUserKey(context, 'bob'), 'u2345');
  t.equal(await findUserKey(context, 'u2345'), 'u2345');
  await t.rejects(findUserKey(context, 'zoe'), { code: 'MH_ERR_HUB_NO_SUCH_USER' });
  await t.rejects(findUserKey(context, 'max'), { code: 'MH_ERR_CLI_USAGE', message: /keys max, u6789/ });
});

t.test('without the hub only a key will do, and it is said', async (t) => {
  const away = new MetalhubError('MH_ERR_WIRE_UNREACHABLE', { details: { peer: 'hub', reason: 'x' } });
  const printed: string[] = [];
  t.equal(await findUserKey(contextOf(away, printed), 'anna'), 'anna');
  t.match(printed, [/cannot be asked who anna is/]);
  await t.rejects(findUserKey(contextOf(away), 'Anna B'), { code: 'MH_ERR_WIRE_UNREACHABLE' });
  const broken = new MetalhubError('MH_ERR_HUB_DATABASE', { details: { reason: 'x' } });
  await t.rejects(findUserKey(contextOf(broken), 'anna'), { code: 'MH_ERR_HUB_DATABASE' });
});
