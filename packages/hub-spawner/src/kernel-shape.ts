import { MetalhubError } from '@metalhub/base/errors.js';
import { list, object, record, type Shaped, text } from '@metalhub/base/shape.js';
import type { Config } from '@metalhub/config/schema.js';
import { PROFILE_NAME_PATTERN } from '@metalhub/wire/spawner.js';

const name = text({ pattern: PROFILE_NAME_PATTERN, max: 63 });
const line = text({ pattern: /^[^\p{Cc}]*$/u, max: 4096 });
/** Absolute, or below the home with `~/` in front. */
const place = text({ pattern: /^(?:~\/|\/)[^\p{Cc}]*$/u, max: 1024 });
const optionalPlace = text({ pattern: /^(?:(?:~\/|\/)[^\p{Cc}]*)?$/u, max: 1024 });
const patterns = list(text({ min: 1, max: 256 }), 1000);

const kernelShape = object({
  name,
  title: text({ min: 1, max: 200 }),
  environment: optionalPlace,
  command: list(line, 100),
  language: line,
  activate: optionalPlace,
  logo: optionalPlace,
  variables: record(/^[A-Za-z_][A-Za-z0-9_]{0,255}$/, text({ max: 1024 }), 100),
});
const kernelRootShape = object({ name, path: place, title: line, include: patterns, exclude: patterns });

/** What of the kernels is told to servers: keys as in metalhub.toml, without who is offered them. */
export const kernelsShape = object({ static: list(kernelShape, 100), roots: list(kernelRootShape, 100) });
export type Kernels = Shaped<typeof kernelsShape>;

/** The part of the configuration that {@link kernelsShape} describes. */
export function kernelEntries({ kernel, kernel_root }: Pick<Config, 'kernel' | 'kernel_root'>): Kernels {
  return {
    static: kernel.map(({ allow: _allow, profiles: _profiles, environment = '', ...entry }) => ({
      ...entry,
      environment,
    })),
    roots: kernel_root.map(({ allow: _allow, profiles: _profiles, ...entry }) => entry),
  };
}

/**
 * Those of root's configuration that are named, in its order; `undefined` for none.
 * @throws {MH_ERR_SPAWN_KERNEL}
 */
export function kernelsNamed({ static: kernels, roots }: Kernels, names: readonly string[]): Kernels | undefined {
  const known = new Set([...kernels, ...roots].map((entry) => entry.name));
  const unknown = names.find((wanted) => !known.has(wanted));
  if (unknown !== undefined) throw new MetalhubError('MH_ERR_SPAWN_KERNEL', { details: { kernel: unknown } });
  if (names.length === 0) return undefined;
  const isNamed = (entry: { readonly name: string }): boolean => names.includes(entry.name);
  return { static: kernels.filter(isNamed), roots: roots.filter(isNamed) };
}
