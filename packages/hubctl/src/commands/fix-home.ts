import type { HomePass, LeftReason } from '@metalhub/wire/spawner-admin.js';
import type { Command } from '../command.js';
import { print } from '../command.js';
import { printable } from '../output.js';
import { askSpawner } from '../spawner-admin.js';
import { findUserKey } from '../user-key.js';

const REASONS: Readonly<Record<LeftReason, string>> = {
  'hard-link': 'it has another name outside of the home',
  device: 'it is a device',
  mount: 'something is mounted on it',
  immutable: 'it may not be changed (lsattr)',
  'too-deep': 'it lies too deep',
};

export const fixHome: Command = {
  name: 'fix-home',
  operands: ['user'],
  summary: "give all files in a user's home to them, or look which would be given",
  options: ['check'],
  async run(context, [user = '']) {
    const key = await findUserKey(context, user);
    const value = await askSpawner(context.spawnerSocket, (spawner) =>
      // As long as it takes; the end of the connection ends it.
      spawner.call('FixHome', { key, check: context.check }),
    );
    print(context, value, () => describe(user, context.check, value.pass));
    return context.check && value.pass.changed > 0 ? 1 : 0;
  },
};

function describe(user: string, isCheck: boolean, pass: HomePass): string {
  const seconds = (pass.duration_ms / 1000).toFixed(1);
  const changed = isCheck ? `${pass.changed} not the user's` : `${pass.changed} given to the user`;
  const lines = [`${printable(user)}: ${pass.seen} files, ${changed}, ${pass.left} left as they are (${seconds} s)`];
  for (const { path, reason } of pass.left_examples) lines.push(`  left: ${printable(path)}: ${REASONS[reason]}`);
  const unnamed = pass.left - pass.left_examples.length;
  if (unnamed > 0) lines.push(`  and ${unnamed} more`);
  return lines.join('\n');
}
