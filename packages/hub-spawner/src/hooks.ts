import type { Key } from '@metalhub/base/names.js';
import { property, strv, type UnitProperty } from '@metalhub/systemd/unit-property.js';
import type { SpawnerProfile } from './spawner-config.js';

type Hooks = Pick<SpawnerProfile, 'before_start' | 'after_stop'>;

/**
 * What root wants done before a server starts and after it has ended. A program runs in the server's unit, so as its user and
 * in its sandbox; a template unit, such as `quota@.service`, runs as whom its own file says, with the key as its instance.
 *
 * systemd starts all of it, in order and in time, whether the spawner still runs or not. What fails before the start makes the
 * start fail; afterwards there is nothing left to keep from going on.
 */
export function hookProperties(key: Key, { before_start, after_stop }: Hooks): UnitProperty[] {
  const before = hookUnits(key, before_start);
  const after = hookUnits(key, after_stop);
  return [
    ...commands('ExecStartPreEx', before_start, []),
    ...commands('ExecStopPostEx', after_stop, ['ignore-failure']),
    ...(before.length > 0 ? [strv('Requires', before), strv('After', before)] : []),
    ...(after.length > 0 ? [strv('OnSuccess', after), strv('OnFailure', after)] : []),
  ];
}

/** Whether a hook is a program; otherwise it is a template unit. */
export function isProgram(hook: string): boolean {
  return hook.startsWith('/');
}

/** Names of the units among the hooks of a user. */
export function hookUnits(key: Key, hooks: readonly string[]): string[] {
  return hooks.filter((hook) => !isProgram(hook)).map((hook) => hook.replace('@.', `@${key}.`));
}

function commands(name: string, hooks: readonly string[], flags: readonly string[]): UnitProperty[] {
  const programs = hooks.filter(isProgram);
  if (programs.length === 0) return [];
  return [
    property(
      name,
      'a(sasas)',
      programs.map((program) => [program, [program], [...flags, 'no-env-expand']]),
    ),
  ];
}
