import { existsSync } from 'node:fs';

/** A file of this checkout, wherever in it the compiled tests lie. @throws when there is none */
export function projectFile(path: string): string {
  for (
    let directory = new URL('./', import.meta.url);
    directory.pathname !== '/';
    directory = new URL('../', directory)
  ) {
    const file = new URL(path, directory).pathname;
    if (existsSync(file)) return file;
  }
  throw new Error(`${path} is not above the tests`);
}
