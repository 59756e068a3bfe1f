import type { Command, Context } from '../command.js';
import { print } from '../command.js';
import { printable } from '../output.js';

export const freeze: Command = {
  name: 'freeze',
  operands: ['user'],
  summary: "let a user's server stand still, with all that is in it",
  options: ['server'],
  run: (context, [user = '']) => change(context, 'freeze', user, 'froze'),
};

export const thaw: Command = {
  name: 'thaw',
  operands: ['user'],
  summary: 'let it go on where it stood',
  options: ['server'],
  run: (context, [user = '']) => change(context, 'thaw', user, 'thawed'),
};

async function change(context: Context, action: 'freeze' | 'thaw', user: string, done: string): Promise<number> {
  const value = await context.admin.post(`/admin/servers/${action}`, { user, server: context.server });
  print(context, value, () => `${done} the server of ${printable(user)}`);
  return 0;
}
