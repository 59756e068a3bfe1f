import { readdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { errorText, MetalhubError, systemErrorCode } from '@metalhub/base/errors.js';
import type { ErrorObject } from 'ajv';
import { getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser';
import { checkConsistency } from './consistency.js';
import { keyLines, keyText } from './positions.js';
import type { Config, LoginConfig } from './schema.js';
import { findMistake } from './validator.js';

export const CONFIG_FILE = '/etc/metalhub/metalhub.toml';
/** Later directories win over earlier ones for the same file name. */
export const DROP_IN_DIRECTORIES = [
  '/usr/lib/metalhub/metalhub.toml.d',
  '/run/metalhub/metalhub.toml.d',
  '/etc/metalhub/metalhub.toml.d',
];

export interface ConfigSource {
  file: string;
  text: string;
}

type Table = Record<string, unknown>;
/** The way to a key: `['profile', 0, 'python']`. */
export type KeyPath = readonly (string | number)[];
type Path = KeyPath;

interface Parsed {
  file: string;
  table: Table;
  lines: Map<string, number>;
}

/**
 * Reads the main file and its drop-ins, checks them and fills in defaults.
 * @throws {MH_ERR_CONFIG_SYNTAX} {MH_ERR_CONFIG_UNKNOWN_KEY} {MH_ERR_CONFIG_VALUE} {MH_ERR_CONFIG_FILE}
 */
export function loadConfig(options: { file?: string; dropInDirectories?: readonly string[] } = {}): Config {
  return parseConfig(readSources(options.file ?? CONFIG_FILE, options.dropInDirectories ?? DROP_IN_DIRECTORIES));
}

/**
 * The `login` tables alone, checked by their own schema and no further: for the process that lives for one login
 * attempt. Frozen.
 * @throws as {@link loadConfig}
 */
export function loadLogin(
  options: { file?: string; dropInDirectories?: readonly string[] } = {},
): readonly LoginConfig[] {
  const sources = readSources(options.file ?? CONFIG_FILE, options.dropInDirectories ?? DROP_IN_DIRECTORIES);
  const parsed = sources.map(parseSource);
  const { login = [] } = parsed.reduce<Table>((table, source) => mergeTables(table, source.table), {});
  const checked = validate('login', parsed, { login });
  return deepFreeze((checked as Pick<Config, 'login'>).login);
}

/** The files that count, main file first, in the order in which they are merged. */
export function readSources(file: string, dropInDirectories: readonly string[]): ConfigSource[] {
  const dropIns = new Map<string, string>();
  for (const directory of dropInDirectories) {
    for (const name of listDirectory(directory)) {
      if (name.endsWith('.toml')) dropIns.set(name, join(directory, name));
    }
  }
  const paths = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  return [file, ...paths].filter((path) => !isMasked(path)).map((path) => ({ file: path, text: readText(path) }));
}

/** Pure core of {@link loadConfig}. The result is frozen. */
export function parseConfig(sources: readonly ConfigSource[]): Config {
  const parsed = sources.map(parseSource);
  const merged = parsed.reduce<Table>((table, source) => mergeTables(table, source.table), {});
  const config = validate('config', parsed, merged) as Config;
  checkConsistency(config, (path, reason) => {
    throw valueError(parsed, path, reason);
  });
  return deepFreeze(config);
}

/** Where a key stands, or else the table around it: `file:line: key`. */
export function locateKey(sources: readonly ConfigSource[], path: KeyPath): string {
  const { file, line } = placeOf(sources.map(parseSource), path);
  return `${file}:${line}: ${keyText(path)}`;
}

/** Fills in defaults in place. */
function validate(what: 'config' | 'login', parsed: readonly Parsed[], table: Table): unknown {
  const mistake = findMistake(what, table);
  if (mistake !== undefined) throw placedError(mistake, parsed, table);
  return table;
}

function parseSource({ file, text }: ConfigSource): Parsed {
  try {
    const toml = parseTOML(text, { tomlVersion: '1.0' });
    return { file, table: getStaticTOMLValue(toml) as Table, lines: keyLines(toml) };
  } catch (cause) {
    if (!(cause instanceof ParseError)) throw cause;
    const details = { file, line: cause.lineNumber, reason: cause.message };
    throw new MetalhubError('MH_ERR_CONFIG_SYNTAX', { details, cause });
  }
}

/** Tables merge key by key; anything else, lists included, is replaced. */
function mergeTables(base: Table, over: Table): Table {
  const result: Table = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    result[key] = isTable(before) && isTable(value) ? mergeTables(before, value) : value;
  }
  return result;
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function placedError(error: ErrorObject, parsed: readonly Parsed[], merged: Table): MetalhubError {
  const path = pointerPath(error.instancePath);
  if (error.keyword === 'additionalProperties') {
    const key = [...path, String(error.params['additionalProperty'])];
    const details = { ...placeOf(parsed, key), key: keyText(key) };
    return new MetalhubError('MH_ERR_CONFIG_UNKNOWN_KEY', { details, hint: 'see metalhub.toml(5) for all keys' });
  }
  if (error.keyword === 'required') path.push(String(error.params['missingProperty']));
  const description: unknown = error.parentSchema?.['description'];
  const hint = typeof description === 'string' && error.keyword !== 'required' ? description : undefined;
  return valueError(parsed, path, explain(error, valueAt(merged, path)), hint);
}

function valueError(parsed: readonly Parsed[], path: Path, reason: string, hint?: string): MetalhubError {
  const details = { ...placeOf(parsed, path), key: keyText(path), reason };
  return new MetalhubError('MH_ERR_CONFIG_VALUE', { details, hint });
}

function explain(error: ErrorObject, value: unknown): string {
  const shown = value === undefined ? '' : `, not ${JSON.stringify(value).slice(0, 80)}`;
  switch (error.keyword) {
    case 'required':
      return 'is missing';
    case 'type':
      return `must be ${error.params['type'] === 'object' ? 'a table' : `of type ${error.params['type']}`}${shown}`;
    case 'const':
      return `must be ${JSON.stringify(error.params['allowedValue'])}${shown}`;
    case 'pattern':
      return `does not have the right form${shown}`;
    default:
      return `${error.message ?? 'is not valid'}${shown}`;
  }
}

/** The last file that speaks of the key, and where; of its parents when the key itself is nowhere. */
function placeOf(parsed: readonly Parsed[], path: Path): { file: string; line: number } {
  for (let length = path.length; length > 0; length--) {
    const key = keyText(path.slice(0, length));
    const source = parsed.findLast(({ lines }) => lines.has(key));
    if (source !== undefined) return { file: source.file, line: source.lines.get(key) ?? 1 };
  }
  return { file: parsed[0]?.file ?? CONFIG_FILE, line: 1 };
}

function pointerPath(pointer: string): (string | number)[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^[0-9]+$/.test(part) ? Number(part) : part));
}

function valueAt(table: Table, path: Path): unknown {
  let value: unknown = table;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}

function listDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw fileError(path, error);
  }
}

/** As with systemd's own drop-ins, a link to /dev/null takes a file of the same name out. */
function isMasked(path: string): boolean {
  try {
    return realpathSync(path) === '/dev/null';
  } catch {
    return false;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(path, error);
  }
}

function fileError(file: string, cause: unknown): MetalhubError {
  return new MetalhubError('MH_ERR_CONFIG_FILE', { details: { file, reason: errorText(cause) }, cause });
}
