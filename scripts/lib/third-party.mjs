// Which npm packages went into the bundles, and under what licence: most ask that their notice travels with every copy.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const LICENCE_FILE = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/** Directories of the packages among esbuild's inputs, relative to the checkout. */
export function bundledPackages(inputs) {
  const found = new Set();
  for (const path of inputs) {
    const match = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (match) found.add(match[1]);
  }
  return [...found];
}

/** One text with name, version, licence and notices of each. A package without any word about its licence is an error. */
export function thirdPartyText(root, directories) {
  const sections = new Map();
  for (const directory of directories) {
    const { name, version, license } = JSON.parse(readFileSync(join(root, directory, 'package.json'), 'utf8'));
    const notices = readdirSync(join(root, directory))
      .filter((file) => LICENCE_FILE.test(file))
      .map((file) => readFileSync(join(root, directory, file), 'utf8').trim());
    if (typeof license !== 'string' && notices.length === 0) throw new Error(`${name} names no licence`);
    sections.set(`${name} ${version}`, [`${name} ${version} (${licenceName(license)})`, ...notices].join('\n\n'));
  }
  const texts = [...sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
  return `${texts.join(`\n\n${'-'.repeat(79)}\n\n`)}\n`;
}

/** Old packages give an object. */
function licenceName(license) {
  return license?.type ?? license ?? 'see below';
}
