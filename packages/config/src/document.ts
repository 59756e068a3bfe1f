import { OptionalKind, type TSchema } from '@sinclair/typebox';
import { configSchema } from './schema.js';

/** One key of the configuration as the reference page and the sample show it. */
interface Key {
  name: string;
  schema: TSchema;
}

interface Section {
  /** `proxy`, `login`; empty for the keys before any table. */
  name: string;
  isArray: boolean;
  description: string;
  keys: Key[];
}

/** Values that the shipped file sets: without them nobody could log in. */
const SHIPPED: Readonly<Record<string, string>> = {
  'login.method': 'method = "pam"',
  'login.allow': 'allow = { groups = ["metalhub-users"] }',
};

const INTRODUCTION = `\
# The configuration of metalhub. Every key is described in metalhub.toml(5).
# A line that begins with "# " and a key shows its default. After a change:
#
#   hubctl config check     names a mistake with its line
#   hubctl apply            checks, then makes the change take effect
#
# Pieces of configuration may also lie in /etc/metalhub/metalhub.toml.d/*.toml.
`;

export function sections(): Section[] {
  const top: Section = { name: '', isArray: false, description: '', keys: [] };
  const tables: Section[] = [];
  for (const [name, schema] of Object.entries(configSchema.properties) as [string, TSchema][]) {
    const isArray = schema['type'] === 'array';
    const table: TSchema | undefined = isArray ? schema['items'] : schema;
    if (table === undefined || table['type'] !== 'object') top.keys.push({ name, schema });
    else tables.push(...tableSections(name, schema, table));
  }
  return [top, ...tables];
}

/** A table and the tables within it. */
function tableSections(name: string, schema: TSchema, table: TSchema): Section[] {
  const entries = Object.entries(table['properties'] as Record<string, TSchema>)
    .filter(([, value]) => value['isCopy'] !== true)
    .map(([key, value]) => ({ name: key, schema: value }));
  const own: Section = {
    name,
    isArray: schema['type'] === 'array',
    description: schema.description ?? '',
    keys: entries.filter((key) => key.schema['isTable'] !== true),
  };
  const inner = entries.filter((key) => key.schema['isTable'] === true);
  return [own, ...inner.flatMap((key) => tableSections(`${name}.${key.name}`, key.schema, key.schema['items']))];
}

/** The commented file that is installed as /etc/metalhub/metalhub.toml. */
export function renderSample(): string {
  const parts = [INTRODUCTION];
  for (const { name, isArray, description, keys } of sections()) {
    const lines: string[] = [];
    const isShipped = keys.some((key) => SHIPPED[`${name}.${key.name}`] !== undefined);
    const mark = isShipped || name === '' || !isArray ? '' : '# ';
    if (name !== '') lines.push(...comment(description), `${mark}${isArray ? `[[${name}]]` : `[${name}]`}`);
    for (const key of keys) {
      lines.push('', ...comment(describe(key.schema)));
      const shipped = SHIPPED[`${name}.${key.name}`];
      lines.push(shipped ?? `# ${key.name} = ${tomlValue(key.schema)}`);
    }
    parts.push(lines.join('\n'));
  }
  return `${parts.join('\n\n').replace(/\n{3,}/g, '\n\n')}\n`;
}

/** docs/config.md. */
export function renderReference(): string {
  const parts = [
    '# Configuration reference\n',
    'Generated from the schema in `packages/config`; the same text is in metalhub.toml(5).\n',
    'Files: `/etc/metalhub/metalhub.toml`, then `metalhub.toml.d/*.toml` in `/usr/lib/metalhub`, `/run/metalhub` and ' +
      '`/etc/metalhub`, sorted by name; the same name in `/etc` wins, a link to `/dev/null` takes a file out. Tables merge, ' +
      'everything else is replaced.\n',
  ];
  for (const { name, isArray, description, keys } of sections()) {
    if (name !== '') parts.push(`## \`${isArray ? `[[${name}]]` : `[${name}]`}\`\n`, `${description}\n`);
    for (const { name: key, schema } of keys) {
      parts.push(
        `### \`${name === '' ? key : `${name}.${key}`}\`\n`,
        `${describe(schema)}\n`,
        `${facts(schema).join('; ')}.\n`,
      );
    }
  }
  return `${parts.join('\n')}`;
}

/** metalhub.toml(5), in man's own language. */
export function renderManPage(): string {
  const lines = [
    '.\\" Generated from the schema in packages/config.',
    '.TH METALHUB.TOML 5 "" metalhub metalhub',
    '.SH NAME',
    'metalhub.toml \\- configuration of the metalhub daemons',
    '.SH SYNOPSIS',
    '.nf',
    '/etc/metalhub/metalhub.toml',
    '/usr/lib/metalhub/metalhub.toml.d/*.toml',
    '/run/metalhub/metalhub.toml.d/*.toml',
    '/etc/metalhub/metalhub.toml.d/*.toml',
    '.fi',
    '.SH DESCRIPTION',
    'All daemons read the same file, in TOML. Drop\\-in files are merged over it, sorted by name over all directories;',
    'of files with the same name the one in /etc counts, and a link to /dev/null takes a file out.',
    'Tables merge, everything else is replaced.',
    'An unknown key or a bad value is an error that names file, line and key.',
    'Check a change with \\fBhubctl config check\\fR and make it take effect with \\fBhubctl apply\\fR.',
  ];
  for (const { name, isArray, description, keys } of sections()) {
    const title = name === '' ? 'KEYS BEFORE ANY TABLE' : `TABLE ${isArray ? `[[${name}]]` : `[${name}]`}`;
    lines.push(`.SH ${roff(title)}`);
    if (description !== '') lines.push(roff(description));
    for (const { name: key, schema } of keys) {
      lines.push('.TP', `.B ${roff(key)}`, roff(`${describe(schema)} ${facts(schema).join('; ')}.`));
    }
  }
  lines.push('.SH SEE ALSO', '\\fBhubctl\\fR(1)');
  return `${lines.join('\n')}\n`;
}

function describe(schema: TSchema): string {
  const table: TSchema = schema['type'] === 'array' ? schema['items'] : schema;
  const inner = (table['properties'] ?? {}) as Record<string, TSchema>;
  const parts = Object.entries(inner).map(([key, value]) => `${key}: ${value.description ?? ''}`);
  return [schema.description ?? '', ...parts].join(' ');
}

function facts(schema: TSchema): string[] {
  const result = [`Type: ${schema['type'] === 'object' ? 'table' : String(schema['type'] ?? 'string')}`];
  const { minimum, maximum } = schema as { minimum?: number; maximum?: number };
  if (minimum !== undefined || maximum !== undefined) result.push(`from ${minimum} to ${maximum}`);
  if (schema.default !== undefined) result.push(`default: ${tomlValue(schema)}`);
  else result.push(OptionalKind in schema ? 'may be left out' : 'must be given');
  return result;
}

function tomlValue(schema: TSchema): string {
  const value: unknown = schema.default ?? schema['const'] ?? (schema['examples'] as unknown[] | undefined)?.[0];
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return JSON.stringify(value);
  if (schema['type'] === 'object') return '{}';
  if (value === undefined && schema['type'] === 'integer') return String(schema['minimum'] ?? 0);
  return value === undefined ? '""' : JSON.stringify(value);
}

function comment(text: string, width = 98): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(/\s+/)) {
    if (line.length + word.length + 1 > width) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return line === '#' ? lines : [...lines, line];
}

function roff(text: string): string {
  return text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/, '\\&$1');
}
