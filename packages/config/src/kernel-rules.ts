import type { Config } from './schema.js';

type Refuse = (path: readonly (string | number)[], reason: string) => void;

/** All of it travels to a server in its credential, which systemd keeps below a megabyte. */
const MAX_TEXT = 256 * 1024;
const TITLE_WORDS = ['kernel', 'language', 'environment'];

/** What the schema cannot say of kernels, without a look at the machine. */
export function checkKernels({ kernel, kernel_root, profile }: Config, refuse: Refuse): void {
  const names = new Set<string>();
  const profiles = new Set(profile.map(({ name }) => name));
  for (const [table, entries] of [
    ['kernel', kernel],
    ['kernel_root', kernel_root],
  ] as const) {
    for (const [index, entry] of entries.entries()) {
      if (names.has(entry.name)) refuse([table, index, 'name'], `"${entry.name}" is used twice`);
      names.add(entry.name);
      for (const [at, name] of entry.profiles.entries()) {
        if (!profiles.has(name)) refuse([table, index, 'profiles', at], `there is no profile "${name}"`);
      }
    }
  }
  for (const [index, { environment, command }] of kernel.entries()) {
    const where = ['kernel', index, 'command'];
    const [program, ...words] = command;
    if (program === undefined) {
      if (environment === undefined) refuse(['kernel', index], 'needs environment, command or both');
      continue;
    }
    if (!/^(?:~\/|\/)/.test(program)) refuse(where, 'must begin with the absolute path of a program');
    if (!words.some((word) => word.includes('{connection_file}'))) refuse(where, 'must have {connection_file} in it');
  }
  for (const [index, { title }] of kernel_root.entries()) {
    const unknown = [...title.matchAll(/\{([^{}]*)\}/g)].find(([, word = '']) => !TITLE_WORDS.includes(word));
    if (unknown !== undefined) refuse(['kernel_root', index, 'title'], `has ${unknown[0]}, which is not known`);
  }
  if (JSON.stringify([kernel, kernel_root]).length > MAX_TEXT)
    refuse(['kernel'], 'and kernel_root are too long together');
}
